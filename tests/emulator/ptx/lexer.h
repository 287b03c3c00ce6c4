// Text -> words, numbers and punctuation.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace emulator::ptx {

struct Token {
  enum Kind : uint8_t { kWord, kInteger, kFloat32, kFloat64, kString, kPunctuation, kEnd };
  Kind kind = kEnd;
  int line = 0;
  std::string text;   // a word keeps its dots: "ld.global.v4.f32", ".reg", "%tid.x"
  uint64_t bits = 0;  // of a number
};

std::vector<std::string> split_lines(const std::string& text);
std::vector<Token> tokenize(const std::vector<std::string>& lines);

}  // namespace emulator::ptx

#include "emulator/ptx/lexer.h"

#include <bit>
#include <cctype>
#include <cstdlib>

#include "emulator/ptx/syntax.h"

namespace emulator::ptx {
namespace {

bool begins_word(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%'; }
bool continues_word(char c) { return begins_word(c) || std::isdigit(static_cast<unsigned char>(c)); }

class Lexer {
 public:
  explicit Lexer(const std::vector<std::string>& lines) : lines_(lines) {}

  std::vector<Token> run() {
    for (line_ = 1; line_ <= static_cast<int>(lines_.size()); ++line_) tokenize_line(lines_[line_ - 1]);
    emit(Token::kEnd, "end of file");
    return std::move(tokens_);
  }

 private:
  void tokenize_line(const std::string& s) {
    for (size_t i = 0; i < s.size();) {
      const char c = s[i], next = i + 1 < s.size() ? s[i + 1] : '\0';
      if (in_comment_) {
        in_comment_ = !(c == '*' && next == '/');
        i += in_comment_ ? 1 : 2;
      } else if (std::isspace(static_cast<unsigned char>(c))) {
        ++i;
      } else if (c == '/' && next == '/') {
        return;
      } else if (c == '/' && next == '*') {
        in_comment_ = true;
        i += 2;
      } else if (c == '"') {
        const size_t end = s.find('"', i + 1);
        if (end == std::string::npos) fail(lines_, line_, "a string without an end");
        emit(Token::kString, s.substr(i + 1, end - i - 1));
        i = end + 1;
      } else if (begins_word(c) || (c == '.' && begins_word(next))) {
        i = word(s, i);
      } else if (std::isdigit(static_cast<unsigned char>(c))) {
        i = number(s, i);
      } else {
        emit(Token::kPunctuation, std::string(1, c));
        ++i;
      }
    }
  }

  /// Dots and double colons belong to a word ("ld.global.L2::128B"); the single colon of a label does not. Directives
  /// may touch: ".reg.b32" is two words.
  size_t word(const std::string& s, size_t begin) {
    size_t i = begin + 1;
    const bool directive = s[begin] == '.';
    while (i < s.size()) {
      if (continues_word(s[i]) || (s[i] == '.' && !directive && i + 1 < s.size() && continues_word(s[i + 1]))) {
        ++i;
      } else if (s.compare(i, 2, "::") == 0) {
        i += 2;
      } else {
        break;
      }
    }
    emit(Token::kWord, s.substr(begin, i - begin));
    return i;
  }

  size_t number(const std::string& s, size_t begin) {
    const char second = begin + 1 < s.size() ? static_cast<char>(std::tolower(s[begin + 1])) : '\0';
    if (s[begin] == '0' && (second == 'f' || second == 'd')) {
      const size_t digits = second == 'f' ? 8 : 16;
      emit(second == 'f' ? Token::kFloat32 : Token::kFloat64, s.substr(begin, digits + 2));
      tokens_.back().bits = std::strtoull(s.substr(begin + 2, digits).c_str(), nullptr, 16);
      return begin + 2 + digits;
    }
    char* end = nullptr;
    const char* text = s.c_str() + begin;
    const bool binary = second == 'b';
    uint64_t bits = binary ? std::strtoull(text + 2, &end, 2) : std::strtoull(text, &end, 0);
    Token::Kind kind = Token::kInteger;
    if (!binary && second != 'x' && (*end == '.' || *end == 'e' || *end == 'E')) {
      bits = std::bit_cast<uint64_t>(std::strtod(text, &end));
      kind = Token::kFloat64;
    }
    if (*end == 'U') ++end;
    const size_t stop = end - s.c_str();
    emit(kind, s.substr(begin, stop - begin));
    tokens_.back().bits = bits;
    return stop;
  }

  void emit(Token::Kind kind, std::string text) { tokens_.push_back({kind, line_, std::move(text), 0}); }

  const std::vector<std::string>& lines_;
  std::vector<Token> tokens_;
  int line_ = 0;
  bool in_comment_ = false;
};

}  // namespace

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

std::vector<Token> tokenize(const std::vector<std::string>& lines) { return Lexer(lines).run(); }

}  // namespace emulator::ptx

// PTX as the parser hands it on: functions of statements, with names already looked up in their scopes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace emulator::ptx {

enum class Type : uint8_t { kNone, kPred, kBits, kUnsigned, kSigned, kFloat, kBFloat, kTFloat };

/// A fundamental type: .b32 is {kBits, 32}; the packed .f16x2 is {kFloat, 16, 2}.
struct ScalarType {
  Type kind = Type::kNone;
  uint8_t bits = 0;
  uint8_t lanes = 1;
  bool operator==(const ScalarType&) const = default;
  bool is_float() const { return kind >= Type::kFloat; }
  bool is_signed() const { return kind == Type::kSigned; }
  unsigned width() const { return unsigned{bits} * lanes; }
};

/// The type that a word such as "u32" or "bf16x2" names, or kNone.
ScalarType scalar_type(const std::string& word);

enum class StateSpace : uint8_t { kGeneric, kGlobal, kConst, kShared, kLocal, kParam };

struct Variable {
  std::string name;
  StateSpace space = StateSpace::kGeneric;
  uint64_t size = 0, alignment = 1;
  bool dynamic = false;                   // .extern .shared x[]: begins where the static variables end
  std::vector<unsigned char> contents{};  // empty: zeros
};

struct Operand {
  enum Kind : uint8_t { kRegister, kInteger, kFloat32, kFloat64, kAddress, kVector, kPair, kSymbol, kSpecial, kSink };
  Kind kind = kSink;
  bool negated = false;             // !%p
  int index = -1;                   // of the register, or of a variable of the function; -1: the name is the module's
  int scope = 0;                    // where a symbol was used, to find labels
  uint64_t bits = 0;                // of a constant
  int64_t offset = 0;               // of an address
  std::string name{};               // of a symbol or special register
  std::vector<Operand> elements{};  // of {a, b}, of a|b; the base of an address
};

struct Statement {
  int line = 0;
  int guard = -1;  // predicate register
  bool guard_negated = false;
  std::vector<std::string> opcode;  // split at dots
  std::vector<Operand> operands;
  std::vector<Operand> returns;  // of a call, whose operands are the function's name and the arguments
};

struct Function {
  std::string name;
  bool is_entry = false;
  uint32_t max_threads = 0;
  std::vector<ScalarType> registers;
  std::vector<Variable> variables;  // return values, parameters, then those declared in the body
  size_t num_returns = 0, num_parameters = 0;
  std::vector<Statement> statements;
  std::map<std::pair<int, std::string>, size_t> labels;                      // (scope, name) -> statement
  std::map<std::pair<int, std::string>, std::vector<std::string>> branches;  // .branchtargets
  std::vector<int> scope_parent;
};

struct Module {
  std::vector<std::string> lines;  // of the text, to be quoted
  std::vector<Variable> variables;
  std::map<std::string, Function> functions;
};

/// Throws ParseError with the number and the text of the line.
Module parse(const std::string& text);
[[noreturn]] void fail(const std::vector<std::string>& lines, int line, const std::string& problem);

}  // namespace emulator::ptx

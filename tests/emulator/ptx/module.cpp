// Outside of functions: directives, module variables, signatures.
#include <cstring>

#include "emulator/machine/machine.h"
#include "emulator/ptx/parser.h"

namespace emulator::ptx {

void fail(const std::vector<std::string>& lines, int line, const std::string& problem) {
  std::string text = line >= 1 && line <= static_cast<int>(lines.size()) ? lines[line - 1] : "";
  text.erase(0, text.find_first_not_of(" \t"));
  throw ParseError("PTX line " + std::to_string(line) + ": " + problem + ": " + text);
}

ScalarType scalar_type(const std::string& word) {
  static const std::map<std::string, ScalarType> types = {
      {"pred", {Type::kPred, 1}},       {"b8", {Type::kBits, 8}},          {"b16", {Type::kBits, 16}},
      {"b32", {Type::kBits, 32}},       {"b64", {Type::kBits, 64}},        {"u8", {Type::kUnsigned, 8}},
      {"u16", {Type::kUnsigned, 16}},   {"u32", {Type::kUnsigned, 32}},    {"u64", {Type::kUnsigned, 64}},
      {"s8", {Type::kSigned, 8}},       {"s16", {Type::kSigned, 16}},      {"s32", {Type::kSigned, 32}},
      {"s64", {Type::kSigned, 64}},     {"f16", {Type::kFloat, 16}},       {"f32", {Type::kFloat, 32}},
      {"f64", {Type::kFloat, 64}},      {"bf16", {Type::kBFloat, 16}},     {"tf32", {Type::kTFloat, 32}},
      {"f16x2", {Type::kFloat, 16, 2}}, {"bf16x2", {Type::kBFloat, 16, 2}}};
  const auto found = types.find(word);
  return found == types.end() ? ScalarType{} : found->second;
}

Module parse(const std::string& text) { return Parser(text).run(); }

Parser::Parser(const std::string& text) {
  module_.lines = split_lines(text.substr(0, text.find('\0')));
  tokens_ = tokenize(module_.lines);
}

Module Parser::run() {
  while (peek().kind != Token::kEnd) directive();
  return std::move(module_);
}

bool Parser::accept(const char* text) {
  if (!at(text)) return false;
  ++position_;
  return true;
}

void Parser::expect(const char* text) {
  if (!accept(text)) fail_here(std::string("expected '") + text + "', found '" + peek().text + "'");
}

std::string Parser::word() {
  if (peek().kind != Token::kWord) fail_here("expected a name, found '" + peek().text + "'");
  return next().text;
}

uint64_t Parser::integer() {
  const bool negative = accept("-");
  if (peek().kind != Token::kInteger) fail_here("expected an integer, found '" + peek().text + "'");
  const uint64_t bits = next().bits;
  return negative ? 0 - bits : bits;
}

void Parser::fail_here(const std::string& problem) const { fail(module_.lines, peek().line, problem); }

void Parser::directive() {
  bool is_extern = false;
  while (at(".visible") || at(".weak") || at(".extern") || at(".common")) is_extern |= next().text == ".extern";
  const std::string name = word();
  if (name == ".version" || name == ".address_size") {
    next();
    if (peek().kind == Token::kPunctuation && accept(".")) next();
    if (name == ".address_size" && tokens_[position_ - 1].text != "64") fail_here("addresses must have 64 bits");
  } else if (name == ".target") {
    do next();
    while (accept(","));
  } else if (name == ".entry" || name == ".func") {
    function(name == ".entry");
  } else if (name == ".global" || name == ".const" || name == ".shared") {
    const auto space = name == ".global"  ? StateSpace::kGlobal
                       : name == ".const" ? StateSpace::kConst
                                          : StateSpace::kShared;
    module_.variables.push_back(variable(space, is_extern));
    expect(";");
  } else if (name == ".file") {
    for (const int line = peek().line; peek().line == line && peek().kind != Token::kEnd;) next();
  } else if (name == ".section") {
    skip_section();
  } else if (name == ".pragma") {
    while (!accept(";")) next();
  } else {
    --position_;
    fail_here("a directive the emulator does not know");
  }
}

void Parser::skip_section() {
  while (!accept("{")) next();
  while (!accept("}")) {
    if (next().kind == Token::kEnd) fail_here("a section without an end");
  }
}

/// After the state space: [.align n] .type name [ "[" size "]" ... ] [ = initialiser ]
Variable Parser::variable(StateSpace space, bool is_extern) {
  Variable v{.name = "", .space = space};
  uint64_t alignment = 0, count = 1;
  ScalarType type;
  while (at(".align") || at(".attribute") || (peek().text[0] == '.' && type.kind == Type::kNone)) {
    const std::string text = word();
    if (text == ".align") {
      alignment = integer();
    } else if (text == ".v2" || text == ".v4") {
      count = text == ".v2" ? 2 : 4;
    } else if (text == ".ptr" || text == ".global") {  // hints that parameters carry
    } else {
      type = scalar_type(text.substr(1));
      if (type.kind == Type::kNone) fail_here("a type the emulator does not know: " + text);
    }
    while (at(".ptr") || at(".global") || at(".shared") || at(".const") || at(".local")) next();
  }
  const unsigned element = type.width() / 8;
  v.name = word();
  while (accept("[")) {
    v.dynamic = at("]");
    if (!v.dynamic) count *= integer();
    expect("]");
  }
  v.size = v.dynamic ? 0 : element * count;
  v.alignment = alignment ? alignment : element;
  if (v.dynamic && !(is_extern && space == StateSpace::kShared)) fail_here("an array without a size");
  if (accept("=")) initialiser(v, element);
  return v;
}

void Parser::initialiser(Variable& v, unsigned element_bytes) {
  v.contents.assign(v.size, 0);
  size_t at_byte = 0;
  int depth = 0;
  do {
    while (accept("{")) ++depth;
    if (!at("}")) {
      const bool negative = accept("-");
      const Token value = next();
      if (value.kind == Token::kWord || value.kind == Token::kPunctuation)
        fail_here("an initialiser that is no number");
      const uint64_t bits = negative ? 0 - value.bits : value.bits;
      if (at_byte + element_bytes > v.size) fail_here("more initialisers than elements");
      std::memcpy(v.contents.data() + at_byte, &bits, element_bytes);
      at_byte += element_bytes;
    }
    while (depth > 0 && accept("}")) --depth;
  } while (depth > 0 && (accept(","), true));
}

void Parser::parameters(Function& f, bool returns) {
  expect("(");
  while (!accept(")")) {
    const std::string space = word();
    if (space != ".param") fail_here("a parameter must lie in .param space");
    f.variables.push_back(variable(StateSpace::kParam, false));
    ++(returns ? f.num_returns : f.num_parameters);
    accept(",");
  }
}

void Parser::tuning(Function& f) {
  while (peek().kind == Token::kWord && peek().text[0] == '.') {
    const std::string text = word();
    if (text == ".maxntid" || text == ".reqntid") {
      uint64_t threads = integer();
      while (accept(",")) threads *= integer();
      f.max_threads = static_cast<uint32_t>(threads);
    } else if (text == ".minnctapersm" || text == ".maxnreg" || text == ".abi_preserve") {
      integer();
    } else if (text == ".pragma") {
      while (!accept(";")) next();
    } else if (text != ".noreturn" && text != ".blocksareclusters") {
      fail_here("a directive the emulator does not know");
    }
  }
}

void Parser::function(bool is_entry) {
  Function f;
  f.is_entry = is_entry;
  if (at("(")) parameters(f, true);
  f.name = word();
  if (at("(")) parameters(f, false);
  tuning(f);
  if (accept(";")) return;  // only declared; defined further down, or outside: calling it is an error at that call
  function_ = &f;
  body();
  function_ = nullptr;
  module_.functions[f.name] = std::move(f);
}

}  // namespace emulator::ptx

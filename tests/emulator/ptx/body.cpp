// Inside of functions: scopes, declarations, labels, statements, operands. Names are looked up as they are read, but
// for labels, which may come later.
#include <cctype>

#include "emulator/ptx/parser.h"

namespace emulator::ptx {

void Parser::open_scope() {
  const int parent = scopes_.empty() ? -1 : scopes_.back().id;
  scopes_.push_back({static_cast<int>(function_->scope_parent.size()), {}, {}});
  function_->scope_parent.push_back(parent);
}

void Parser::body() {
  expect("{");
  open_scope();
  for (size_t i = 0; i < function_->variables.size(); ++i) {
    scopes_.back().variables[function_->variables[i].name] = static_cast<int>(i);
  }
  while (!scopes_.empty()) body_item();
}

void Parser::body_item() {
  if (accept("{")) {
    open_scope();
  } else if (accept("}")) {
    scopes_.pop_back();
  } else if (peek().kind == Token::kEnd) {
    fail_here("a function without an end");
  } else if (peek(1).text == ":" && peek().kind == Token::kWord) {
    const std::pair<int, std::string> label{scopes_.back().id, word()};
    expect(":");
    if (accept(".branchtargets")) {
      do function_->branches[label].push_back(word());
      while (accept(","));
      expect(";");
    } else {
      function_->labels[label] = function_->statements.size();
    }
  } else if (accept(";") || declaration()) {
  } else {
    statement();
  }
}

bool Parser::declaration() {
  if (peek().kind != Token::kWord || peek().text[0] != '.') return false;
  const std::string name = word();
  if (name == ".reg") {
    declare_registers();
  } else if (name == ".local" || name == ".shared" || name == ".param") {
    declare_variable(variable(name == ".local"    ? StateSpace::kLocal
                              : name == ".shared" ? StateSpace::kShared
                                                  : StateSpace::kParam,
                              false));
    expect(";");
  } else if (name == ".loc") {
    for (const int line = tokens_[position_ - 1].line; peek().line == line;) next();
  } else if (name == ".pragma") {
    while (!accept(";")) next();
  } else {
    --position_;
    fail_here("a directive the emulator does not know");
  }
  return true;
}

/// .reg .type name [<count>] {, name}; — "%r<10>" declares %r0 to %r9.
void Parser::declare_registers() {
  const ScalarType type = scalar_type(word().substr(1));
  if (type.kind == Type::kNone) fail_here("a register type the emulator does not know");
  do {
    const std::string name = word();
    const int first = static_cast<int>(function_->registers.size());
    int count = -1;
    if (accept("<")) {
      count = static_cast<int>(integer());
      expect(">");
    }
    scopes_.back().registers[name] = {first, count};
    function_->registers.resize(first + (count < 0 ? 1 : count), type);
  } while (accept(","));
  expect(";");
}

void Parser::declare_variable(Variable v) {
  scopes_.back().variables[v.name] = static_cast<int>(function_->variables.size());
  function_->variables.push_back(std::move(v));
}

int Parser::find_register(const std::string& name) const {
  size_t digits = name.size();
  while (digits > 0 && std::isdigit(static_cast<unsigned char>(name[digits - 1]))) --digits;
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    const auto single = scope->registers.find(name);
    if (single != scope->registers.end() && single->second.count < 0) return single->second.first;
    if (digits == name.size()) continue;
    const auto range = scope->registers.find(name.substr(0, digits));
    if (range == scope->registers.end()) continue;
    const int number = std::stoi(name.substr(digits));
    if (number < range->second.count) return range->second.first + number;
  }
  return -1;
}

int Parser::find_variable(const std::string& name) const {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    const auto found = scope->variables.find(name);
    if (found != scope->variables.end()) return found->second;
  }
  return -1;
}

void Parser::statement() {
  Statement s;
  s.line = peek().line;
  if (accept("@")) {
    s.guard_negated = accept("!");
    const std::string name = word();
    s.guard = find_register(name);
    if (s.guard < 0) fail_here("a predicate that is not declared: " + name);
  }
  const std::string opcode = word();
  for (size_t begin = 0; begin <= opcode.size();) {
    const size_t end = std::min(opcode.find('.', begin), opcode.size());
    s.opcode.push_back(opcode.substr(begin, end - begin));
    begin = end + 1;
  }
  if (s.opcode[0] == "call") {
    call(s);
  } else if (!at(";")) {
    do s.operands.push_back(operand());
    while (accept(","));
  }
  expect(";");
  function_->statements.push_back(std::move(s));
}

/// call[.uni] [(returns),] name [, (arguments)] [, prototype]
void Parser::call(Statement& s) {
  if (at("(")) {
    s.returns = argument_list();
    expect(",");
  }
  s.operands.push_back(operand());
  while (accept(",")) {
    if (!at("(")) fail_here("calls through pointers are not emulated");
    for (Operand& argument : argument_list()) s.operands.push_back(std::move(argument));
  }
}

std::vector<Operand> Parser::argument_list() {
  std::vector<Operand> all;
  expect("(");
  while (!accept(")")) {
    all.push_back(operand());
    accept(",");
  }
  return all;
}

Operand Parser::operand() {
  if (at("[")) return address();
  if (at("{")) return vector_operand();
  const bool negated = accept("!");
  Operand o = peek().kind == Token::kWord ? name_operand() : number_operand();
  o.negated = negated;
  if (accept("|")) {
    Operand pair{.kind = Operand::kPair};
    pair.elements = {std::move(o), name_operand()};
    return pair;
  }
  return o;
}

Operand Parser::address() {
  expect("[");
  Operand o{.kind = Operand::kAddress};
  o.elements.push_back(peek().kind == Token::kWord ? name_operand() : number_operand());
  while (!at("]")) {
    if (accept("+")) {
      o.offset += static_cast<int64_t>(integer());
    } else if (at("-")) {
      o.offset += static_cast<int64_t>(integer());
    } else {
      fail_here("an address the emulator does not know");
    }
  }
  expect("]");
  return o;
}

Operand Parser::vector_operand() {
  expect("{");
  Operand o{.kind = Operand::kVector};
  do o.elements.push_back(operand());
  while (accept(","));
  expect("}");
  return o;
}

Operand Parser::name_operand() {
  Operand o{.kind = Operand::kSymbol};
  o.name = word();
  o.scope = scopes_.back().id;
  if (o.name == "_") {
    o.kind = Operand::kSink;
  } else if ((o.index = find_register(o.name)) >= 0) {
    o.kind = Operand::kRegister;
  } else if (o.name == "WARP_SZ") {
    o.kind = Operand::kInteger;
    o.bits = 32;
  } else if (o.name[0] == '%') {
    o.kind = Operand::kSpecial;
  } else {
    o.index = find_variable(o.name);
    if (accept("+")) o.offset = static_cast<int64_t>(integer());
  }
  return o;
}

Operand Parser::number_operand() {
  const bool negative = accept("-");
  const Token token = next();
  Operand o;
  if (token.kind == Token::kInteger) {
    o.kind = Operand::kInteger;
  } else if (token.kind == Token::kFloat32) {
    o.kind = Operand::kFloat32;
  } else if (token.kind == Token::kFloat64) {
    o.kind = Operand::kFloat64;
  } else {
    --position_;
    fail_here("expected an operand, found '" + token.text + "'");
  }
  o.bits = token.bits;
  if (negative) {
    o.bits = o.kind == Operand::kInteger   ? 0 - o.bits
             : o.kind == Operand::kFloat32 ? o.bits ^ 0x80000000u
                                           : o.bits ^ (uint64_t{1} << 63);
  }
  return o;
}

}  // namespace emulator::ptx

// Recursive descent over the tokens; split in two: what stands outside of functions, and what stands inside.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "emulator/ptx/lexer.h"
#include "emulator/ptx/syntax.h"

namespace emulator::ptx {

class Parser {
 public:
  explicit Parser(const std::string& text);
  Module run();

 private:
  // module.cpp: directives, variables, signatures
  void directive();
  void function(bool is_entry);
  void parameters(Function& f, bool returns);
  void tuning(Function& f);
  Variable variable(StateSpace space, bool is_extern);
  void initialiser(Variable& v, unsigned element_bytes);
  void skip_section();

  // body.cpp: scopes, declarations, statements, operands
  struct Registers {
    int first, count;  // count < 0: one register, whose name carries no number
  };
  struct Scope {
    int id;
    std::map<std::string, Registers> registers;
    std::map<std::string, int> variables;
  };
  void body();
  void open_scope();
  void body_item();
  bool declaration();
  void declare_registers();
  void declare_variable(Variable v);
  void statement();
  void call(Statement& s);
  std::vector<Operand> argument_list();
  Operand operand();
  Operand address();
  Operand vector_operand();
  Operand name_operand();
  Operand number_operand();
  int find_register(const std::string& name) const;
  int find_variable(const std::string& name) const;

  const Token& peek(int ahead = 0) const { return tokens_[std::min(position_ + ahead, tokens_.size() - 1)]; }
  const Token& next() { return tokens_[std::min(position_++, tokens_.size() - 1)]; }
  bool at(const char* text) const { return peek().kind != Token::kString && peek().text == text; }
  bool accept(const char* text);
  void expect(const char* text);
  std::string word();
  uint64_t integer();
  [[noreturn]] void fail_here(const std::string& problem) const;

  Module module_;
  std::vector<Token> tokens_;
  size_t position_ = 0;
  Function* function_ = nullptr;
  std::vector<Scope> scopes_;
};

}  // namespace emulator::ptx

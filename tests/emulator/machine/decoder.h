// Statements of PTX -> instructions. Each class of instructions brings a function that decodes it, beside the functions
// that run it; they are listed in decode_table.cpp by the first word of the opcode.
#pragma once

#include <initializer_list>
#include <map>
#include <string>
#include <vector>

#include "emulator/machine/program.h"

namespace emulator {

class Decoder {
 public:
  Decoder(const ptx::Module& module, const ptx::Function& entry, Program& program);
  void run();

  // For the functions that decode one class. `statement` is the one at hand.
  const ptx::Statement& statement() const { return *statement_; }
  [[noreturn]] void unknown(const std::string& why = "an instruction the emulator does not know") const;
  /// The words after the first: each may be taken once, and none may be left over.
  bool take(const char* word);
  ptx::ScalarType take_type();
  std::string take_any(std::initializer_list<const char*> words);  // the word found, or ""
  void expect_operands(size_t count) const;

  const ptx::Operand& operand(size_t index) const;
  uint32_t source(const ptx::Operand& o, unsigned width);       // constants become 32 lanes of that many bits
  uint32_t destination(const ptx::Operand& o, unsigned width);  // kNone for "_"
  uint32_t register_of(const ptx::Operand& o);                  // of whatever width
  unsigned width_of(const ptx::Operand& o) const;               // in bits, of a register
  uint32_t predicate_source(const ptx::Operand& o);             // "!" is an error here
  void address(const ptx::Operand& o, Instruction& i);          // fills a[0], immediate and, for parameters, space
  uint64_t integer(const ptx::Operand& o) const;                // a constant known now
  bool is_constant(const ptx::Operand& o) const { return o.kind == ptx::Operand::kInteger; }
  uint32_t constant(uint64_t bits, unsigned width);
  uint32_t branch_table(const ptx::Operand& label);
  Program& program() { return program_; }

 private:
  struct Frame {  // a function, or one inlined copy of it
    const ptx::Function* function;
    std::vector<uint32_t> registers;
    std::vector<uint64_t> variables;  // offset within its space
    std::vector<bool> kernel_parameter;
    std::vector<uint32_t> positions;  // of its statements in the code
    struct Fixup {
      size_t instruction;
      size_t statement;
    };
    std::vector<Fixup> fixups;
    struct TableFixup {
      size_t table;
      std::vector<size_t> statements;
    };
    std::vector<TableFixup> table_fixups;
    std::vector<size_t> returns;  // branches to its end
  };
  void place_shared();
  Frame make_frame(const ptx::Function& f);
  void decode_function(const ptx::Function& f);
  void decode_statement();
  void decode_call();
  void decode_control(Instruction& i);
  void patch(Frame& frame);
  size_t label(const std::string& name, int scope) const;
  uint32_t new_slot(unsigned width);
  uint64_t symbol(const ptx::Operand& o, bool* is_global, ptx::StateSpace* space) const;
  uint32_t variable_slot(const std::string& name, int64_t addend);
  uint32_t special_slot(const ptx::Operand& o);

  const ptx::Module& module_;
  const ptx::Function& entry_;
  Program& program_;
  Frame* frame_ = nullptr;
  const ptx::Statement* statement_ = nullptr;
  std::vector<bool> taken_;
  std::map<std::pair<unsigned, uint64_t>, uint32_t> constants_;
  std::map<std::pair<std::string, int64_t>, uint32_t> variable_slots_;
  std::map<int, uint32_t> special_slots_;
  std::map<std::string, uint32_t> shared_;  // module-level .shared variables
  std::vector<const ptx::Function*> stack_;
};

using DecodeFunction = void (*)(Decoder&, Instruction&);
/// Null if no class knows the word.
DecodeFunction decode_function_of(const std::string& opcode);

}  // namespace emulator

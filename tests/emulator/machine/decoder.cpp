// Functions: frames, calls (inlined), branches, and where shared and local variables lie.
#include "emulator/machine/decoder.h"

#include <algorithm>

namespace emulator {
using ptx::Operand;
using ptx::StateSpace;

namespace {
uint64_t aligned(uint64_t offset, uint64_t alignment) { return (offset + alignment - 1) / alignment * alignment; }
}  // namespace

Decoder::Decoder(const ptx::Module& module, const ptx::Function& entry, Program& program)
    : module_(module), entry_(entry), program_(program) {}

void Decoder::run() {
  KernelInfo& info = program_.info;
  info.name = entry_.name;
  info.max_threads = entry_.max_threads;
  for (size_t i = 0; i < entry_.num_parameters; ++i) {
    const ptx::Variable& v = entry_.variables[i];
    info.parameters.push_back({v.name, aligned(info.parameter_bytes(), v.alignment), v.size, v.alignment});
  }
  info.registers_hint = entry_.registers.size();
  place_shared();
  decode_function(entry_);
  program_.branch_tables.shrink_to_fit();
}

/// Static variables first, in the order of the text, then dynamic shared memory. PTX keeps the variables of all kernels
/// of a module at its top, so only those are placed that this kernel may reach.
void Decoder::place_shared() {
  uint64_t offset = 0, dynamic_alignment = 16;
  for (const auto& v : module_.variables) {
    if (v.space != StateSpace::kShared) continue;
    dynamic_alignment = std::max(dynamic_alignment, v.dynamic ? v.alignment : 1);
    if (v.dynamic) continue;
    offset = aligned(offset, v.alignment);
    shared_[v.name] = static_cast<uint32_t>(offset);
    offset += v.size;
  }
  for (const auto& [name, f] : module_.functions) {
    if (f.is_entry && &f != &entry_) continue;
    for (const auto& v : f.variables) {
      if (v.space != StateSpace::kShared) continue;
      offset = aligned(offset, v.alignment);
      shared_[f.name + "/" + v.name] = static_cast<uint32_t>(offset);
      offset += v.size;
    }
  }
  program_.info.static_shared = offset;
  program_.dynamic_shared = static_cast<uint32_t>(aligned(offset, dynamic_alignment));
  for (const auto& v : module_.variables) {
    if (v.dynamic) shared_[v.name] = program_.dynamic_shared;
  }
}

Decoder::Frame Decoder::make_frame(const ptx::Function& f) {
  Frame frame;
  frame.function = &f;
  frame.registers.assign(f.registers.size(), kNone);
  frame.positions.resize(f.statements.size() + 1);
  for (size_t i = 0; i < f.variables.size(); ++i) {
    const ptx::Variable& v = f.variables[i];
    const bool kernel_parameter = f.is_entry && i < f.num_parameters;
    frame.kernel_parameter.push_back(kernel_parameter);
    if (kernel_parameter) {
      frame.variables.push_back(program_.info.parameters[i].offset);
    } else if (v.space == StateSpace::kShared) {
      frame.variables.push_back(shared_.at(f.name + "/" + v.name));
    } else {  // local variables and the parameters of calls; those of a copy of a function are bound by its call
      program_.local_bytes = static_cast<uint32_t>(aligned(program_.local_bytes, std::max<uint64_t>(v.alignment, 8)));
      frame.variables.push_back(program_.local_bytes);
      program_.local_bytes += static_cast<uint32_t>(v.size);
    }
  }
  return frame;
}

void Decoder::decode_function(const ptx::Function& f) {
  Frame frame = make_frame(f);
  if (!stack_.empty()) {
    const auto bind = [&](const std::vector<Operand>& arguments, size_t skip, size_t first) {
      for (size_t i = skip; i < arguments.size(); ++i) {
        if (arguments[i].index < 0 || arguments[i].kind != Operand::kSymbol) unknown("an argument that is no .param");
        frame.variables[first + i - skip] = frame_->variables[arguments[i].index];
      }
    };
    if (statement_->returns.size() != f.num_returns || statement_->operands.size() != f.num_parameters + 1) {
      unknown("a call with other arguments than its function has");
    }
    bind(statement_->returns, 0, 0);
    bind(statement_->operands, 1, f.num_returns);
  }
  Frame* caller = frame_;
  const ptx::Statement* call = statement_;
  frame_ = &frame;
  stack_.push_back(&f);
  for (size_t s = 0; s < f.statements.size(); ++s) {
    frame.positions[s] = static_cast<uint32_t>(program_.code.size());
    statement_ = &f.statements[s];
    decode_statement();
  }
  frame.positions[f.statements.size()] = static_cast<uint32_t>(program_.code.size());
  if (stack_.size() == 1) {  // running off the end of a kernel ends it
    Instruction end;
    end.flow = Flow::kExit;
    end.kind = InstructionClass::kControl;
    program_.code.push_back(end);
  }
  patch(frame);
  stack_.pop_back();
  frame_ = caller;
  statement_ = call;
}

void Decoder::patch(Frame& frame) {
  for (const auto& fixup : frame.fixups) program_.code[fixup.instruction].target = frame.positions[fixup.statement];
  for (const auto& fixup : frame.table_fixups) {
    for (const size_t s : fixup.statements) program_.branch_tables[fixup.table].push_back(frame.positions[s]);
  }
  for (const size_t instruction : frame.returns) program_.code[instruction].target = frame.positions.back();
}

void Decoder::decode_statement() {
  const std::string& name = statement_->opcode[0];
  if (name == "call") return decode_call();
  Instruction i;
  i.line = statement_->line;
  if (statement_->guard >= 0) {
    Operand guard{.kind = Operand::kRegister};
    guard.index = statement_->guard;
    i.guard = destination(guard, 1);
    i.guard_negated = statement_->guard_negated;
  }
  taken_.assign(statement_->opcode.size(), false);
  taken_[0] = true;
  if (name == "bra" || name == "brx" || name == "ret" || name == "exit" || name == "trap") {
    decode_control(i);
  } else {
    const DecodeFunction decode = decode_function_of(name);
    if (!decode) unknown();
    decode(*this, i);
  }
  for (size_t word = 0; word < taken_.size(); ++word) {
    if (!taken_[word]) unknown("the emulator does not know ." + statement_->opcode[word] + " here");
  }
  program_.code.push_back(i);
}

size_t Decoder::label(const std::string& name, int scope) const {
  for (; scope >= 0; scope = frame_->function->scope_parent[scope]) {
    const auto found = frame_->function->labels.find({scope, name});
    if (found != frame_->function->labels.end()) return found->second;
  }
  unknown("a label that is not there: " + name);
}

void Decoder::decode_control(Instruction& i) {
  const std::string& name = statement_->opcode[0];
  i.kind = InstructionClass::kControl;
  take("uni");
  if (name == "bra") {
    expect_operands(1);
    i.flow = Flow::kBranch;
    frame_->fixups.push_back({program_.code.size(), label(operand(0).name, operand(0).scope)});
  } else if (name == "brx") {
    if (!take("idx")) unknown();
    expect_operands(2);
    i.flow = Flow::kBranchIndexed;
    i.a[0] = source(operand(0), 32);
    i.target = branch_table(operand(1));
  } else if (name == "ret" && stack_.size() > 1) {
    i.flow = Flow::kBranch;
    frame_->returns.push_back(program_.code.size());
  } else {
    i.flow = name == "trap" ? Flow::kTrap : Flow::kExit;
  }
}

uint32_t Decoder::branch_table(const Operand& o) {
  for (int scope = o.scope; scope >= 0; scope = frame_->function->scope_parent[scope]) {
    const auto found = frame_->function->branches.find({scope, o.name});
    if (found == frame_->function->branches.end()) continue;
    std::vector<size_t> statements;
    for (const auto& name : found->second) statements.push_back(label(name, scope));
    frame_->table_fixups.push_back({program_.branch_tables.size(), std::move(statements)});
    program_.branch_tables.emplace_back();
    return static_cast<uint32_t>(program_.branch_tables.size() - 1);
  }
  unknown("a table of branch targets that is not there: " + o.name);
}

/// The function's body takes the place of the call; a guarded call jumps around it. __assertfail is what assert()
/// calls.
void Decoder::decode_call() {
  const std::string& name = operand(0).name;
  const auto found = module_.functions.find(name);
  Instruction i;
  i.line = statement_->line;
  i.kind = InstructionClass::kControl;
  if (found == module_.functions.end()) {
    if (name != "__assertfail") unknown("a call of a function that the module does not hold");
    i.flow = Flow::kTrap;
    program_.code.push_back(i);
    return;
  }
  if (std::find(stack_.begin(), stack_.end(), &found->second) != stack_.end()) unknown("recursion is not emulated");
  if (statement_->guard < 0) return decode_function(found->second);
  Operand guard{.kind = Operand::kRegister};
  guard.index = statement_->guard;
  i.guard = destination(guard, 1);
  i.guard_negated = !statement_->guard_negated;
  i.flow = Flow::kBranch;
  const size_t around = program_.code.size();
  program_.code.push_back(i);
  decode_function(found->second);
  program_.code[around].target = static_cast<uint32_t>(program_.code.size());
}

}  // namespace emulator

// Operands: from names and constants to offsets into the register file.
#include <algorithm>
#include <bit>
#include <cstring>

#include "emulator/machine/decoder.h"

namespace emulator {
using ptx::Operand;
using ptx::StateSpace;

void Decoder::unknown(const std::string& why) const { ptx::fail(module_.lines, statement_->line, why); }

bool Decoder::take(const char* word) {
  for (size_t i = 1; i < statement_->opcode.size(); ++i) {
    if (!taken_[i] && statement_->opcode[i] == word) {
      taken_[i] = true;
      return true;
    }
  }
  return false;
}

std::string Decoder::take_any(std::initializer_list<const char*> words) {
  for (const char* word : words) {
    if (take(word)) return word;
  }
  return "";
}

ptx::ScalarType Decoder::take_type() {
  for (size_t i = 1; i < statement_->opcode.size(); ++i) {
    const auto type = ptx::scalar_type(statement_->opcode[i]);
    if (!taken_[i] && type.kind != ptx::Type::kNone) {
      taken_[i] = true;
      return type;
    }
  }
  unknown("an instruction without a type that the emulator knows");
}

void Decoder::expect_operands(size_t count) const {
  if (statement_->operands.size() != count) unknown("expected " + std::to_string(count) + " operands");
}

const Operand& Decoder::operand(size_t index) const {
  if (index >= statement_->operands.size()) unknown("too few operands");
  return statement_->operands[index];
}

unsigned Decoder::width_of(const Operand& o) const {
  if (o.kind != Operand::kRegister) unknown("expected a register");
  return frame_->function->registers[o.index].width();
}

uint32_t Decoder::register_of(const Operand& o) {
  if (o.kind != Operand::kRegister) unknown("expected a register");
  uint32_t& offset = frame_->registers[o.index];
  if (offset == kNone) offset = new_slot(width_of(o));
  return offset;
}

uint32_t Decoder::new_slot(unsigned width) {
  const uint32_t offset = program_.register_bytes;
  program_.register_bytes += width == 1 ? 32 : std::max(width, 16u) * 4;  // 32 lanes; vectors stay aligned
  return offset;
}

uint32_t Decoder::constant(uint64_t bits, unsigned width) {
  if (width < 64) bits &= (uint64_t{1} << width) - 1;
  const auto [found, added] = constants_.try_emplace({width, bits}, 0);
  if (added) {
    found->second = new_slot(width);
    if (width == 1) {
      program_.predicate_constants.push_back({found->second, bits ? UINT32_MAX : 0});
    } else {
      program_.constants.push_back({found->second, std::max(width, 16u) / 8, bits});
    }
  }
  return found->second;
}

uint32_t Decoder::variable_slot(const std::string& name, int64_t addend) {
  const auto [found, added] = variable_slots_.try_emplace({name, addend}, 0);
  if (added) {
    found->second = new_slot(64);
    program_.variables.push_back({found->second, name, addend});
  }
  return found->second;
}

uint32_t Decoder::special_slot(const Operand& o) {
  static const std::map<std::string, Special> names = {{"%tid.x", Special::kTidX},
                                                       {"%tid.y", Special::kTidY},
                                                       {"%tid.z", Special::kTidZ},
                                                       {"%ntid.x", Special::kNtidX},
                                                       {"%ntid.y", Special::kNtidY},
                                                       {"%ntid.z", Special::kNtidZ},
                                                       {"%ctaid.x", Special::kCtaidX},
                                                       {"%ctaid.y", Special::kCtaidY},
                                                       {"%ctaid.z", Special::kCtaidZ},
                                                       {"%nctaid.x", Special::kNctaidX},
                                                       {"%nctaid.y", Special::kNctaidY},
                                                       {"%nctaid.z", Special::kNctaidZ},
                                                       {"%laneid", Special::kLane},
                                                       {"%warpid", Special::kWarp},
                                                       {"%nwarpid", Special::kNumWarps},
                                                       {"%lanemask_eq", Special::kMaskEq},
                                                       {"%lanemask_le", Special::kMaskLe},
                                                       {"%lanemask_lt", Special::kMaskLt},
                                                       {"%lanemask_ge", Special::kMaskGe},
                                                       {"%lanemask_gt", Special::kMaskGt},
                                                       {"%smid", Special::kZero},
                                                       {"%dynamic_smem_size", Special::kDynamicShared},
                                                       {"%total_smem_size", Special::kTotalShared}};
  const auto known = names.find(o.name);
  if (known == names.end()) unknown("a special register the emulator does not know");
  const auto [found, added] = special_slots_.try_emplace(static_cast<int>(known->second), 0);
  if (added) {
    found->second = new_slot(32);
    program_.specials.push_back({found->second, known->second});
  }
  return found->second;
}

/// The offset of a variable within its space, for those whose address does not wait for the launch.
uint64_t Decoder::symbol(const Operand& o, bool* is_global, StateSpace* space) const {
  *is_global = false;
  if (o.index >= 0) {
    *space = frame_->function->variables[o.index].space;
    if (*space == StateSpace::kParam && !frame_->kernel_parameter[o.index]) *space = StateSpace::kLocal;
    return frame_->variables[o.index] + o.offset;
  }
  const auto shared = shared_.find(o.name);
  if (shared != shared_.end()) {
    *space = StateSpace::kShared;
    return shared->second + o.offset;
  }
  for (const auto& v : module_.variables) {
    if (v.name == o.name) {
      *is_global = true;
      *space = v.space;
      return 0;
    }
  }
  unknown("a name that is not declared: " + o.name);
}

uint32_t Decoder::source(const Operand& o, unsigned width) {
  if (o.negated) unknown("a negated operand where the emulator knows of none");
  switch (o.kind) {
    case Operand::kRegister:
      if (width_of(o) != width)
        unknown("a register of " + std::to_string(width_of(o)) + " bits for a wider or narrower type");
      return register_of(o);
    case Operand::kInteger:
      return constant(o.bits, width);
    case Operand::kFloat32:
      if (width != 32) unknown("a constant of 32 bits for another type");
      return constant(o.bits, 32);
    case Operand::kFloat64:
      if (width == 32) return constant(std::bit_cast<uint32_t>(static_cast<float>(std::bit_cast<double>(o.bits))), 32);
      return constant(o.bits, width);
    case Operand::kSpecial:
      if (width != 32) unknown("a special register as a type of other than 32 bits");
      return special_slot(o);
    case Operand::kSymbol: {
      bool is_global = false;
      StateSpace space;
      const uint64_t value = symbol(o, &is_global, &space);
      if (is_global && width != 64) unknown("an address of 64 bits for a narrower type");
      return is_global ? variable_slot(o.name, o.offset) : constant(value, width);
    }
    default:
      unknown("an operand the emulator does not know here");
  }
}

uint32_t Decoder::destination(const Operand& o, unsigned width) {
  if (o.kind == Operand::kSink) return kNone;
  if (width_of(o) != width)
    unknown("a register of " + std::to_string(width_of(o)) + " bits for a wider or narrower type");
  return register_of(o);
}

uint32_t Decoder::predicate_source(const Operand& o) { return source(o, 1); }

void Decoder::address(const Operand& o, Instruction& i) {
  if (o.kind != Operand::kAddress) unknown("expected an address in brackets");
  const Operand& base = o.elements[0];
  i.immediate = o.offset;
  i.wide_address = true;
  if (base.kind == Operand::kRegister) {
    i.a[0] = register_of(base);
    i.wide_address = width_of(base) == 64;
    if (width_of(base) < 32) unknown("an address of fewer than 32 bits");
  } else if (base.kind == Operand::kSymbol) {
    bool is_global = false;
    StateSpace space;
    const uint64_t value = symbol(base, &is_global, &space);
    i.a[0] = is_global ? variable_slot(base.name, base.offset) : constant(value, 64);
    if (i.space == StateSpace::kParam) i.space = space;
    if (i.space != space) unknown("a variable of another state space");
  } else {
    i.a[0] = source(base, 64);
  }
}

uint64_t Decoder::integer(const Operand& o) const {
  if (o.kind != Operand::kInteger) unknown("expected a constant");
  return o.bits;
}

}  // namespace emulator

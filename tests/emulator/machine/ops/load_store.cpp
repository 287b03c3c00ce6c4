// ld and st: every state space, 1 to 4 elements, registers at least as wide as the element.
#include <cstring>

#include "emulator/machine/access.h"
#include "emulator/machine/lanes.h"
#include "emulator/machine/ops/decode.h"

namespace emulator {
namespace {

using ptx::StateSpace;

/// A lane that may not read gets all ones, which is NaN.
template <class Memory, class Register>
void run_load(Warp& w, const Instruction& i) {
  const Pointers from = resolve(w, i, sizeof(Memory) * i.count, Access::kRead);
  for (int e = 0; e < i.count; ++e) {
    if (i.d[e] == kNone) continue;
    Register* d = w.lanes<Register>(i.d[e]);
    each_lane(w.mask & ~from.valid, [&](int l) { d[l] = static_cast<Register>(~Register{0}); });
    const auto one = [&](int l) {
      Memory value;
      std::memcpy(&value, from.lane[l] + e * sizeof(Memory), sizeof value);
      d[l] = static_cast<Register>(value);
    };
    if (from.valid == UINT32_MAX) {
      for (int l = 0; l < 32; ++l) one(l);
    } else {
      each_lane(from.valid, one);
    }
  }
}

template <class Memory, class Register>
void run_store(Warp& w, const Instruction& i) {
  const Pointers to = resolve(w, i, sizeof(Memory) * i.count, Access::kWrite);
  for (int e = 0; e < i.count; ++e) {
    const Register* source = w.lanes<Register>(i.b[e]);
    each_lane(to.valid, [&](int l) {
      const auto value = static_cast<Memory>(source[l]);
      std::memcpy(to.lane[l] + e * sizeof(Memory), &value, sizeof value);
    });
  }
}

template <class Memory>
Run load_into(unsigned width) {
  if (sizeof(Memory) * 8 > width) return nullptr;
  return width == 16   ? run_load<Memory, uint16_t>
         : width == 32 ? run_load<Memory, uint32_t>
                       : run_load<Memory, uint64_t>;
}
Run select_load(ptx::ScalarType type, unsigned width) {
  const bool s = type.is_signed();
  switch (type.bits) {
    case 8:
      return s ? load_into<int8_t>(width) : load_into<uint8_t>(width);
    case 16:
      return s ? load_into<int16_t>(width) : load_into<uint16_t>(width);
    case 32:
      return s ? load_into<int32_t>(width) : load_into<uint32_t>(width);
    default:
      return load_into<uint64_t>(width);
  }
}

template <class Memory>
Run store_from(unsigned width) {
  if (sizeof(Memory) * 8 > width) return nullptr;
  return width == 16   ? run_store<Memory, uint16_t>
         : width == 32 ? run_store<Memory, uint32_t>
                       : run_store<Memory, uint64_t>;
}
Run select_store(ptx::ScalarType type, unsigned width) {
  return type.bits == 8    ? store_from<uint8_t>(width)
         : type.bits == 16 ? store_from<uint16_t>(width)
         : type.bits == 32 ? store_from<uint32_t>(width)
                           : store_from<uint64_t>(width);
}

/// Everything between "ld" and the type. Hints for the cache change nothing here.
ptx::ScalarType take_words(Decoder& d, Instruction& i) {
  const std::string space =
      d.take_any({"global", "shared", "shared::cta", "local", "const", "param", "param::entry", "param::func"});
  i.space = space == "global"             ? StateSpace::kGlobal
            : space.starts_with("shared") ? StateSpace::kShared
            : space == "local"            ? StateSpace::kLocal
            : space == "const"            ? StateSpace::kConst
            : space.starts_with("param")  ? StateSpace::kParam
                                          : StateSpace::kGeneric;
  i.atomic = !d.take_any({"volatile", "relaxed", "acquire", "release", "mmio"}).empty();
  d.take_any({"cta", "gpu", "sys"});
  d.take("nc");
  d.take_any({"ca", "cg", "cs", "lu", "cv", "wb", "wt"});
  d.take_any({"L1::evict_normal", "L1::evict_unchanged", "L1::evict_first", "L1::evict_last", "L1::no_allocate"});
  d.take_any({"L2::64B", "L2::128B", "L2::256B"});
  i.count = d.take("v2") ? 2 : d.take("v4") ? 4 : 1;
  const ptx::ScalarType type = d.take_type();
  if (type.kind == ptx::Type::kPred || type.lanes == 2) d.unknown();
  i.bytes = type.bits / 8;
  if (i.space == StateSpace::kShared || i.space == StateSpace::kGeneric) {
    const int shift = std::countr_zero(unsigned{i.bytes} * i.count);
    d.program().granule_shift = std::min(d.program().granule_shift, shift);
  }
  return type;
}

/// The width of the registers, which may be wider than the elements in memory.
unsigned register_width(const Decoder& d, const std::vector<ptx::Operand>& registers, unsigned otherwise) {
  for (const auto& o : registers) {
    if (o.kind == ptx::Operand::kRegister) return d.width_of(o);
  }
  return otherwise;
}

InstructionClass class_of(StateSpace space, InstructionClass shared, InstructionClass global, InstructionClass other) {
  if (space == StateSpace::kShared) return shared;
  return space == StateSpace::kGlobal || space == StateSpace::kGeneric ? global : other;
}

}  // namespace

void decode_load(Decoder& d, Instruction& i) {
  const ptx::ScalarType type = take_words(d, i);
  using Class = InstructionClass;
  i.kind = class_of(i.space, Class::kLoadShared, Class::kLoadGlobal, Class::kLoadOther);
  d.expect_operands(2);
  d.address(d.operand(1), i);
  const auto all = elements(d, d.operand(0), i.count);
  const unsigned width = register_width(d, all, type.bits);
  for (size_t e = 0; e < all.size(); ++e) i.d[e] = d.destination(all[e], width);
  i.run = select_load(type, width);
  if (!i.run) d.unknown("a register that is narrower than its type");
}

void decode_store(Decoder& d, Instruction& i) {
  const ptx::ScalarType type = take_words(d, i);
  using Class = InstructionClass;
  i.kind = class_of(i.space, Class::kStoreShared, Class::kStoreGlobal, Class::kStoreOther);
  d.expect_operands(2);
  d.address(d.operand(0), i);
  const auto all = elements(d, d.operand(1), i.count);
  const unsigned width = register_width(d, all, std::max<unsigned>(type.bits, 16));
  decode_sources(d, d.operand(1), i.count, width, i.b);
  i.run = select_store(type, width);
  if (!i.run) d.unknown("a register that is narrower than its type");
}

/// prefetch and its like ask for nothing that could be seen.
void decode_prefetch(Decoder& d, Instruction& i) {
  i.kind = InstructionClass::kLoadOther;
  d.take("global");
  d.take_any({"L1", "L2"});
  i.run = do_nothing;
}

}  // namespace emulator

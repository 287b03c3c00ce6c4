// set: a comparison whose result is a number, 1.0 in a float type and all ones in an integer type; and the comparisons
// of two numbers in one register, set.f16x2 and setp.f16x2.
#include "emulator/machine/lanes.h"
#include "emulator/machine/numbers.h"
#include "emulator/machine/ops/decode.h"

namespace emulator {
namespace {

using Compare = decltype(Instruction::operation);

/// A comparison of floats as an operation on their bits.
template <class F>
Compare on_bits(F) {
  return [](uint64_t a, uint64_t b, uint64_t) -> uint64_t {
    return F{}(std::bit_cast<float>(static_cast<uint32_t>(a)), std::bit_cast<float>(static_cast<uint32_t>(b)));
  };
}

Compare comparison(const std::string& op) {
  static const std::map<std::string, Compare> table = {
      {"eq", on_bits([](float a, float b) { return a == b; })},
      {"ne", on_bits([](float a, float b) { return a < b || a > b; })},
      {"lt", on_bits([](float a, float b) { return a < b; })},
      {"le", on_bits([](float a, float b) { return a <= b; })},
      {"gt", on_bits([](float a, float b) { return a > b; })},
      {"ge", on_bits([](float a, float b) { return a >= b; })},
      {"equ", on_bits([](float a, float b) { return !(a < b || a > b); })},
      {"neu", on_bits([](float a, float b) { return a != b; })},
      {"ltu", on_bits([](float a, float b) { return !(a >= b); })},
      {"leu", on_bits([](float a, float b) { return !(a > b); })},
      {"gtu", on_bits([](float a, float b) { return !(a <= b); })},
      {"geu", on_bits([](float a, float b) { return !(a < b); })},
      {"num", on_bits([](float a, float b) { return a == a && b == b; })},
      {"nan", on_bits([](float a, float b) { return a != a || b != b; })}};
  const auto found = table.find(op);
  return found == table.end() ? nullptr : found->second;
}

struct Full {
  static uint32_t widen(uint32_t x) { return x; }
};
struct Half {
  static uint32_t widen(uint32_t x) { return std::bit_cast<uint32_t>(half_to_float(static_cast<uint16_t>(x))); }
};
struct Brain {
  static uint32_t widen(uint32_t x) { return x << 16; }
};

/// One bit per lane: the comparison of the numbers that lie `shift` bits up in the registers.
template <class Format, class T>
uint32_t compare(Warp& w, const Instruction& i, int shift) {
  const T *a = w.lanes<T>(i.a[0]), *b = w.lanes<T>(i.b[0]);
  uint32_t bits = 0;
  for (int l = 0; l < 32; ++l) {
    bits |= static_cast<uint32_t>(i.operation(Format::widen(a[l] >> shift), Format::widen(b[l] >> shift), 0)) << l;
  }
  return bits;
}

/// immediate: what stands for true. Two numbers to a register make two results.
template <class Format, class T, class D, bool kTwo>
void run_set(Warp& w, const Instruction& i) {
  const uint32_t low = compare<Format, T>(w, i, 0), high = kTwo ? compare<Format, T>(w, i, 16) : 0;
  const auto yes = static_cast<D>(i.immediate);
  D result[32];
  for (int l = 0; l < 32; ++l) {
    result[l] = (low >> l & 1) ? yes : 0;
    if constexpr (kTwo) result[l] |= (high >> l & 1) ? yes << 16 : 0;
  }
  store(w, i.d[0], result);
}

template <class Format>
void run_setp_pair(Warp& w, const Instruction& i) {
  const uint32_t low = compare<Format, uint32_t>(w, i, 0), high = compare<Format, uint32_t>(w, i, 16);
  if (i.d[0] != kNone) store_predicate(w, i.d[0], low);
  if (i.d[1] != kNone) store_predicate(w, i.d[1], high);
}

Run select(ptx::ScalarType to, ptx::ScalarType from) {
  const bool brain = from.kind == ptx::Type::kBFloat;
  if (from.lanes == 2) {
    if (to.width() != 32) return nullptr;
    return brain ? run_set<Brain, uint32_t, uint32_t, true> : run_set<Half, uint32_t, uint32_t, true>;
  }
  if (from.bits == 32) return to.bits == 32 ? run_set<Full, uint32_t, uint32_t, false> : nullptr;
  if (to.bits == 32)
    return brain ? run_set<Brain, uint16_t, uint32_t, false> : run_set<Half, uint16_t, uint32_t, false>;
  return brain ? run_set<Brain, uint16_t, uint16_t, false> : run_set<Half, uint16_t, uint16_t, false>;
}

void begin(Decoder& d, Instruction& i) {
  i.kind = InstructionClass::kPredicate;
  i.operation = comparison(
      d.take_any({"eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"}));
  if (!i.operation) d.unknown();
  d.take("ftz");
  d.expect_operands(3);
}

}  // namespace

void decode_set(Decoder& d, Instruction& i) {
  begin(d, i);
  const ptx::ScalarType to = d.take_type(), from = d.take_type();
  if (!from.is_float() || from.bits > 32) d.unknown();
  i.run = select(to, from);
  if (!i.run) d.unknown();
  i.immediate = !to.is_float() ? -1 : to.bits == 32 ? 0x3f800000 : to.kind == ptx::Type::kFloat ? 0x3c00 : 0x3f80;
  if (from.lanes == 2 && !to.is_float()) i.immediate = 0xffff;
  i.d[0] = d.destination(d.operand(0), to.width());
  i.a[0] = d.source(d.operand(1), from.width());
  i.b[0] = d.source(d.operand(2), from.width());
}

void decode_setp_pair(Decoder& d, Instruction& i) {
  begin(d, i);
  const ptx::ScalarType type = d.take_type();
  const ptx::Operand& to = d.operand(0);
  if (to.kind != ptx::Operand::kPair) d.unknown();
  i.run = type.kind == ptx::Type::kFloat ? run_setp_pair<Half> : run_setp_pair<Brain>;
  i.d[0] = d.destination(to.elements[0], 1);
  i.d[1] = d.destination(to.elements[1], 1);
  i.a[0] = d.source(d.operand(1), 32);
  i.b[0] = d.source(d.operand(2), 32);
}

}  // namespace emulator

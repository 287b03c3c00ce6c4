// cvt: any number type to any other.
//
// A value is read as what it is (sign- or zero-extended to 64 bits, or widened to double), then written as what is
// asked for. Both widen without loss, so there is one rounding. The registers may be wider than the types.
#include <cmath>
#include <limits>

#include "emulator/machine/lanes.h"
#include "emulator/machine/numbers.h"
#include "emulator/machine/ops/decode.h"

namespace emulator {
namespace {

// Instruction::mode
constexpr uint8_t kRoundingMask = 3, kToInteger = 4, kSaturates = 8, kFlushes = 16, kRelu = 32;
// Instruction::c[0] and c[1] hold the two types, c[2] the width of the destination register, c[3] of the source's.

uint32_t pack(ptx::ScalarType t) { return static_cast<uint32_t>(t.kind) << 16 | t.bits; }
ptx::ScalarType unpack(uint32_t bits) {
  return {static_cast<ptx::Type>(bits >> 16), static_cast<uint8_t>(bits & 0xff)};
}

uint64_t read_register(Warp& w, uint32_t offset, unsigned width, int lane) {
  return width == 16   ? w.lanes<uint16_t>(offset)[lane]
         : width == 32 ? w.lanes<uint32_t>(offset)[lane]
                       : w.lanes<uint64_t>(offset)[lane];
}
void write_register(Warp& w, uint32_t offset, unsigned width, int lane, uint64_t bits) {
  if (width == 16) w.lanes<uint16_t>(offset)[lane] = static_cast<uint16_t>(bits);
  if (width == 32) w.lanes<uint32_t>(offset)[lane] = static_cast<uint32_t>(bits);
  if (width == 64) w.lanes<uint64_t>(offset)[lane] = bits;
}

int64_t extend(uint64_t bits, ptx::ScalarType t) {
  if (t.bits == 64) return static_cast<int64_t>(bits);
  const int unused = 64 - t.bits;
  return t.is_signed() ? static_cast<int64_t>(bits << unused) >> unused
                       : static_cast<int64_t>(bits << unused >> unused);
}

double widen(uint64_t bits, ptx::ScalarType t) {
  if (t.bits == 64) return std::bit_cast<double>(bits);
  if (t.bits == 32) return std::bit_cast<float>(static_cast<uint32_t>(bits));
  return t.kind == ptx::Type::kFloat ? half_to_float(static_cast<uint16_t>(bits))
                                     : bf16_to_float(static_cast<uint16_t>(bits));
}

double to_integral(double x, Rounding r) {
  switch (r) {
    case Rounding::kNearest:
      return std::nearbyint(x);
    case Rounding::kZero:
      return std::trunc(x);
    case Rounding::kDown:
      return std::floor(x);
    default:
      return std::ceil(x);
  }
}

uint64_t narrow_to(double x, ptx::ScalarType t, Rounding r) {
  if (t.bits == 64) return std::bit_cast<uint64_t>(x);
  if (t.bits == 32) return std::bit_cast<uint32_t>(to_float(x, r));
  return t.kind == ptx::Type::kFloat ? to_half(x, r) : to_bf16(x, r);
}

/// Out of range clamps; NaN becomes 0.
uint64_t float_to_integer(double x, ptx::ScalarType t) {
  if (x != x) return 0;
  const double low = t.is_signed() ? -std::ldexp(1.0, t.bits - 1) : 0.0;
  const double high = std::ldexp(1.0, t.is_signed() ? t.bits - 1 : t.bits);
  if (x <= low) return static_cast<uint64_t>(t.is_signed() ? int64_t{-1} << (t.bits - 1) : 0);
  if (x >= high) return t.is_signed() ? (uint64_t{1} << (t.bits - 1)) - 1 : ~uint64_t{0} >> (64 - t.bits);
  return t.is_signed() ? static_cast<uint64_t>(static_cast<int64_t>(x)) : static_cast<uint64_t>(x);
}

uint64_t integer_to_integer(int64_t value, ptx::ScalarType from, ptx::ScalarType to, bool saturates) {
  if (!saturates) return static_cast<uint64_t>(value);
  const bool huge = !from.is_signed() && value < 0;  // an unsigned 64-bit value beyond the signed range
  if (to.is_signed()) {
    const int64_t high = static_cast<int64_t>((uint64_t{1} << (to.bits - 1)) - 1), low = -high - 1;
    return static_cast<uint64_t>(huge || value > high ? high : value < low ? low : value);
  }
  if (from.is_signed() && value < 0) return 0;
  const uint64_t high = ~uint64_t{0} >> (64 - to.bits);
  return std::min(static_cast<uint64_t>(value), high);
}

double integer_to_double(int64_t value, ptx::ScalarType from) {
  return from.is_signed() ? static_cast<double>(value) : static_cast<double>(static_cast<uint64_t>(value));
}

uint64_t convert(uint64_t bits, ptx::ScalarType from, ptx::ScalarType to, uint8_t mode) {
  const auto r = static_cast<Rounding>(mode & kRoundingMask);
  if (to.kind == ptx::Type::kTFloat) return to_tf32(static_cast<uint32_t>(bits));
  if (!from.is_float()) {
    const int64_t value = extend(bits, from);
    if (!to.is_float()) return integer_to_integer(value, from, to, mode & kSaturates);
    if (from.bits == 64 && to.bits == 32 && r == Rounding::kNearest) {  // through double it would round twice
      const float f = from.is_signed() ? static_cast<float>(value) : static_cast<float>(static_cast<uint64_t>(value));
      return std::bit_cast<uint32_t>(f);
    }
    return narrow_to(integer_to_double(value, from), to, r);
  }
  double x = widen(bits, from);
  if ((mode & kFlushes) && from.bits == 32) x = flush(static_cast<float>(x));
  if (!to.is_float()) return float_to_integer(to_integral(x, r), to);
  if (mode & kToInteger) x = to_integral(x, r);
  if (mode & kSaturates) x = x > 0 ? std::min(x, 1.0) : 0.0;
  if ((mode & kRelu) && x < 0) x = 0;
  return narrow_to(x, to, r);
}

void run_any(Warp& w, const Instruction& i) {
  const ptx::ScalarType to = unpack(i.c[0]), from = unpack(i.c[1]);
  each_lane(w.mask, [&](int lane) {
    uint64_t bits = convert(read_register(w, i.a[0], i.c[3], lane), from, to, i.mode);
    if (!to.is_float()) bits = static_cast<uint64_t>(extend(bits, to));
    write_register(w, i.d[0], i.c[2], lane, bits);
  });
}

/// cvt.rn.bf16x2.f32 d, a, b: a becomes the upper half.
void run_pack(Warp& w, const Instruction& i) {
  const ptx::ScalarType to = unpack(i.c[0]), from{ptx::Type::kFloat, 32};
  map2<uint32_t, uint32_t, uint32_t>(w, i, [&](uint32_t a, uint32_t b) {
    return static_cast<uint32_t>(convert(a, from, to, i.mode) << 16 | convert(b, from, to, i.mode));
  });
}

// The conversions that kernels are full of, as loops that vectorise.
template <class D, class S>
void run_simple(Warp& w, const Instruction& i) {
  map1<D, S>(w, i, [](S a) { return static_cast<D>(a); });
}

Run shortcut(ptx::ScalarType to, ptx::ScalarType from, unsigned to_width, unsigned from_width, uint8_t mode) {
  using T = ptx::Type;
  if (mode != 0 || to.bits != to_width || from.bits != from_width) return nullptr;
  if (to.kind == T::kFloat && to.bits == 32) {
    if (from.kind == T::kFloat && from.bits == 16)
      return [](Warp& w, const Instruction& i) { map1<float, uint16_t>(w, i, half_to_float); };
    if (from.kind == T::kBFloat)
      return [](Warp& w, const Instruction& i) { map1<float, uint16_t>(w, i, bf16_to_float); };
    if (from == ptx::ScalarType{T::kSigned, 32}) return run_simple<float, int32_t>;
  }
  if (to.is_float() || from.is_float()) return nullptr;
  if (to.bits == 64 && from.bits == 32)
    return from.is_signed() ? run_simple<uint64_t, int32_t> : run_simple<uint64_t, uint32_t>;
  if (to.bits == 32 && from.bits == 64) return run_simple<uint32_t, uint64_t>;
  if (to.bits == 16 && from.bits == 32) return run_simple<uint16_t, uint32_t>;
  return nullptr;
}

uint8_t take_mode(Decoder& d, bool to_integer, bool from_float) {
  uint8_t mode = 0;
  const std::string integral = d.take_any({"rni", "rzi", "rmi", "rpi"});
  const std::string rounding = d.take_any({"rn", "rz", "rm", "rp", "rna"});
  const std::string& r = integral.empty() ? rounding : integral;
  if (r.starts_with("rz")) mode |= static_cast<uint8_t>(Rounding::kZero);
  if (r.starts_with("rm")) mode |= static_cast<uint8_t>(Rounding::kDown);
  if (r.starts_with("rp")) mode |= static_cast<uint8_t>(Rounding::kUp);
  if (!integral.empty()) mode |= kToInteger;
  if (d.take("sat")) mode |= kSaturates;
  if (d.take("ftz")) mode |= kFlushes;
  if (d.take("relu")) mode |= kRelu;
  if (to_integer && from_float && integral.empty()) d.unknown("a conversion to an integer without its rounding");
  return mode;
}

}  // namespace

void decode_convert(Decoder& d, Instruction& i) {
  i.kind = InstructionClass::kConvert;
  if (d.take("pack")) d.unknown();
  const ptx::ScalarType to = d.take_type(), from = d.take_type();
  if (to.kind == ptx::Type::kBits || from.kind == ptx::Type::kBits) d.unknown();
  i.mode = take_mode(d, !to.is_float(), from.is_float());
  i.c[0] = pack(to);
  i.c[1] = pack(from);
  if (to.lanes == 2) {
    if (from != ptx::ScalarType{ptx::Type::kFloat, 32}) d.unknown();
    i.run = run_pack;
    return decode_operands(d, i, 2, 32);
  }
  d.expect_operands(2);
  i.d[0] = d.register_of(d.operand(0));
  i.c[2] = d.width_of(d.operand(0));
  const bool is_register = d.operand(1).kind == ptx::Operand::kRegister;
  i.c[3] = is_register ? d.width_of(d.operand(1)) : std::max<unsigned>(from.bits, 16);
  i.a[0] = is_register ? d.register_of(d.operand(1)) : d.source(d.operand(1), i.c[3]);
  if (i.c[2] < to.bits || i.c[3] < from.bits) d.unknown("a register that is narrower than its type");
  const bool narrows_float = to.is_float() && from.is_float() && to.bits < from.bits;
  i.run = narrows_float ? nullptr : shortcut(to, from, i.c[2], i.c[3], i.mode);
  if (!i.run) i.run = run_any;
}

}  // namespace emulator

// Integer arithmetic. Results wrap; a division by zero gives all ones, as on the hardware.
#include <limits>
#include <type_traits>

#include "emulator/machine/lanes.h"
#include "emulator/machine/ops/decode.h"

namespace emulator {
namespace {

template <class T>
using Unsigned = std::make_unsigned_t<T>;

__extension__ using Signed128 = __int128;
__extension__ using Unsigned128 = unsigned __int128;
/// Twice as wide, of the same sign.
template <class T, class If16, class If32, class If64>
using BySize = std::conditional_t<sizeof(T) == 2, If16, std::conditional_t<sizeof(T) == 4, If32, If64>>;
template <class T>
using Wider = std::conditional_t<std::is_signed_v<T>, BySize<T, int32_t, int64_t, Signed128>,
                                 BySize<T, uint32_t, uint64_t, Unsigned128>>;

// In 16 bits, unsigned operands would be promoted to int, whose product overflows: go through 64 bits.
template <class T>
T multiply_low(T a, T b) {
  return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}
template <class T>
T multiply_high(T a, T b) {
  using W = Wider<T>;
  return static_cast<T>((static_cast<W>(a) * static_cast<W>(b)) >> (sizeof(T) * 8));
}
template <class T>
Wider<T> multiply_wide(T a, T b) {
  using W = Wider<T>;
  return static_cast<W>(static_cast<W>(a) * static_cast<W>(b));
}
template <class T>
T divide(T a, T b) {
  if (b == 0) return static_cast<T>(-1);
  if (std::is_signed_v<T> && b == static_cast<T>(-1))
    return static_cast<T>(Unsigned<T>{0} - static_cast<Unsigned<T>>(a));
  return static_cast<T>(a / b);
}
template <class T>
T remainder(T a, T b) {
  if (b == 0) return a;
  if (std::is_signed_v<T> && b == static_cast<T>(-1)) return 0;
  return static_cast<T>(a % b);
}
template <class T>
T saturating(int64_t wide) {
  constexpr int64_t low = std::numeric_limits<T>::min(), high = std::numeric_limits<T>::max();
  return static_cast<T>(wide < low ? low : wide > high ? high : wide);
}

// Sums wrap: they go through 64 bits without a sign.
template <class T>
T add(T a, T b) {
  return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
template <class T>
T subtract(T a, T b) {
  return static_cast<T>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
}

template <class T, auto kFormula>
void unary_op(Warp& w, const Instruction& i) {
  map1<T, T>(w, i, kFormula);
}
template <class T, auto kFormula>
void binary_op(Warp& w, const Instruction& i) {
  map2<T, T, T>(w, i, kFormula);
}
template <class T, auto kFormula>
void ternary_op(Warp& w, const Instruction& i) {
  map3<T, T, T, T>(w, i, kFormula);
}

template <class T>
Run unary(const std::string& op) {
  if (op == "neg") return unary_op<T, [](T a) { return subtract<T>(0, a); }>;
  if (op == "abs") return unary_op<T, [](T a) { return a < 0 ? subtract<T>(0, a) : a; }>;
  return nullptr;
}

template <class T>
Run binary(const std::string& op) {
  if (op == "add") return binary_op<T, add<T>>;
  if (op == "sub") return binary_op<T, subtract<T>>;
  if (op == "div") return binary_op<T, divide<T>>;
  if (op == "rem") return binary_op<T, remainder<T>>;
  if (op == "min") return binary_op<T, [](T a, T b) { return a < b ? a : b; }>;
  if (op == "max") return binary_op<T, [](T a, T b) { return b < a ? a : b; }>;
  if (op == "mul.lo") return binary_op<T, multiply_low<T>>;
  if (op == "mul.hi") return binary_op<T, multiply_high<T>>;
  return nullptr;
}

template <class T>
Run ternary(const std::string& op) {
  if (op == "mad.lo") return ternary_op<T, [](T a, T b, T c) { return add(multiply_low(a, b), c); }>;
  if (op == "mad.hi") return ternary_op<T, [](T a, T b, T c) { return add(multiply_high(a, b), c); }>;
  if (op == "sad") return ternary_op<T, [](T a, T b, T c) { return add(c, a < b ? subtract(b, a) : subtract(a, b)); }>;
  return nullptr;
}

template <class T>
Run wide(const std::string& op) {
  using W = Wider<T>;
  if (op == "mul.wide") return [](Warp& w, const Instruction& i) { map2<W, T, T>(w, i, multiply_wide<T>); };
  if (op == "mad.wide")
    return [](Warp& w, const Instruction& i) {
      map3<W, T, T, W>(w, i, [](T a, T b, W c) { return add<W>(multiply_wide(a, b), c); });
    };
  return nullptr;
}

template <class T>
Run any(const std::string& op) {
  if (Run run = unary<T>(op)) return run;
  if (Run run = binary<T>(op)) return run;
  return ternary<T>(op);
}

Run select(const std::string& op, ptx::ScalarType type) {
  const bool is_signed = type.is_signed();
  switch (type.bits) {
    case 16:
      return is_signed ? any<int16_t>(op) : any<uint16_t>(op);
    case 32:
      return is_signed ? any<int32_t>(op) : any<uint32_t>(op);
    case 64:
      return is_signed ? any<int64_t>(op) : any<uint64_t>(op);
    default:
      return nullptr;
  }
}

Run select_wide(const std::string& op, ptx::ScalarType type) {
  if (type.bits == 16) return type.is_signed() ? wide<int16_t>(op) : wide<uint16_t>(op);
  return type.is_signed() ? wide<int32_t>(op) : wide<uint32_t>(op);
}

Run select_saturating(const std::string& op) {
  using T = int32_t;
  if (op == "add") return binary_op<T, [](T a, T b) { return saturating<T>(int64_t{a} + b); }>;
  if (op == "sub") return binary_op<T, [](T a, T b) { return saturating<T>(int64_t{a} - b); }>;
  return nullptr;
}

/// Four products of bytes, added to c. A and B say whether bytes have a sign.
template <class A, class B>
void run_dot4(Warp& w, const Instruction& i) {
  map3<uint32_t, uint32_t, uint32_t, uint32_t>(w, i, [](uint32_t a, uint32_t b, uint32_t c) {
    for (int byte = 0; byte < 32; byte += 8) {
      c += static_cast<uint32_t>(static_cast<A>(a >> byte) * static_cast<B>(b >> byte));
    }
    return c;
  });
}

}  // namespace

void decode_dot(Decoder& d, Instruction& i) {
  i.kind = InstructionClass::kInteger;
  const ptx::ScalarType a = d.take_type(), b = d.take_type();
  if (a.bits != 32 || b.bits != 32) d.unknown();
  i.run = a.is_signed() ? (b.is_signed() ? run_dot4<int8_t, int8_t> : run_dot4<int8_t, uint8_t>)
                        : (b.is_signed() ? run_dot4<uint8_t, int8_t> : run_dot4<uint8_t, uint8_t>);
  decode_operands(d, i, 3, 32);
}

void decode_integer(Decoder& d, Instruction& i, const std::string& op, ptx::ScalarType type) {
  i.kind = InstructionClass::kInteger;
  const bool multiplies = op == "mul" || op == "mad";
  if (multiplies && d.take("wide")) {
    if (type.bits > 32) d.unknown();
    i.run = select_wide(op + ".wide", type);
    d.expect_operands(op == "mul" ? 3 : 4);
    i.d[0] = d.destination(d.operand(0), type.bits * 2u);
    i.a[0] = d.source(d.operand(1), type.bits);
    i.b[0] = d.source(d.operand(2), type.bits);
    if (op == "mad") i.c[0] = d.source(d.operand(3), type.bits * 2u);
    return;
  }
  if (d.take("sat")) {
    if (type != ptx::ScalarType{ptx::Type::kSigned, 32}) d.unknown();
    i.run = select_saturating(op);
  } else {
    i.run = select(multiplies ? op + "." + d.take_any({"lo", "hi"}) : op, type);
  }
  if (!i.run) d.unknown();
  const bool one = op == "neg" || op == "abs", three = op == "mad" || op == "sad";
  decode_operands(d, i, one ? 1 : three ? 3 : 2, type.bits);
}

}  // namespace emulator

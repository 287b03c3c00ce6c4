// f16 and bf16 arithmetic, one to a register or two. Computed in double, where sums and products of such numbers are
// exact or all but exact, and rounded once.
#include <cmath>

#include "emulator/machine/lanes.h"
#include "emulator/machine/numbers.h"
#include "emulator/machine/ops/decode.h"

namespace emulator {
namespace {

struct Half {
  static float widen(uint16_t x) { return half_to_float(x); }
  static uint16_t round(double x) { return to_half(x); }
};
struct Brain {
  static float widen(uint16_t x) { return bf16_to_float(x); }
  static uint16_t round(double x) { return to_bf16(x); }
};

struct Add {
  static double of(double a, double b, double) { return a + b; }
};
struct Sub {
  static double of(double a, double b, double) { return a - b; }
};
struct Mul {
  static double of(double a, double b, double) { return a * b; }
};
struct Fma {
  static double of(double a, double b, double c) { return a * b + c; }
};
struct FmaRelu {
  static double of(double a, double b, double c) {
    const double x = a * b + c;
    return x < 0 ? 0 : x;
  }
};
struct Min {
  static double of(double a, double b, double) { return extremum<false, false>(a, b); }
};
struct Max {
  static double of(double a, double b, double) { return extremum<true, false>(a, b); }
};
struct MinNan {
  static double of(double a, double b, double) { return extremum<false, true>(a, b); }
};
struct MaxNan {
  static double of(double a, double b, double) { return extremum<true, true>(a, b); }
};
struct Neg {
  static double of(double a, double, double) { return -a; }
};
struct Abs {
  static double of(double a, double, double) { return std::abs(a); }
};

/// T is uint16_t for one number, uint32_t for two. A source that is not there reads the first.
template <class Format, class T, class Op>
void apply(Warp& w, const Instruction& i) {
  const T* a = w.lanes<T>(i.a[0]);
  const T* b = i.b[0] == kNone ? a : w.lanes<T>(i.b[0]);
  const T* c = i.c[0] == kNone ? a : w.lanes<T>(i.c[0]);
  T result[32];
  const auto one = [](T x, T y, T z, int shift) {
    const auto widen = [&](T v) { return Format::widen(static_cast<uint16_t>(v >> shift)); };
    return static_cast<T>(static_cast<T>(Format::round(Op::of(widen(x), widen(y), widen(z)))) << shift);
  };
  for (int l = 0; l < 32; ++l) {
    result[l] = one(a[l], b[l], c[l], 0);
    if constexpr (sizeof(T) == 4) result[l] |= one(a[l], b[l], c[l], 16);
  }
  store(w, i.d[0], result);
}

template <class Format, class T>
Run select(const std::string& op, bool nan, bool relu) {
  if (op == "fma") return relu ? apply<Format, T, FmaRelu> : apply<Format, T, Fma>;
  if (relu) return nullptr;
  if (op == "add") return apply<Format, T, Add>;
  if (op == "sub") return apply<Format, T, Sub>;
  if (op == "mul") return apply<Format, T, Mul>;
  if (op == "min") return nan ? apply<Format, T, MinNan> : apply<Format, T, Min>;
  if (op == "max") return nan ? apply<Format, T, MaxNan> : apply<Format, T, Max>;
  if (op == "neg") return apply<Format, T, Neg>;
  if (op == "abs") return apply<Format, T, Abs>;
  return nullptr;
}

}  // namespace

void decode_half(Decoder& d, Instruction& i, const std::string& op, ptx::ScalarType type) {
  i.kind = InstructionClass::kHalf;
  d.take("rn");
  const bool nan = d.take("NaN"), relu = d.take("relu"), brain = type.kind == ptx::Type::kBFloat;
  if (type.lanes == 2) {
    i.run = brain ? select<Brain, uint32_t>(op, nan, relu) : select<Half, uint32_t>(op, nan, relu);
  } else {
    i.run = brain ? select<Brain, uint16_t>(op, nan, relu) : select<Half, uint16_t>(op, nan, relu);
  }
  if (!i.run) d.unknown();
  const bool one = op == "neg" || op == "abs", three = op == "fma";
  decode_operands(d, i, one ? 1 : three ? 3 : 2, type.width());
}

}  // namespace emulator

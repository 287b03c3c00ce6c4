// f32 arithmetic, with .ftz, .sat and the four roundings.
#include <cmath>

#include "emulator/machine/lanes.h"
#include "emulator/machine/numbers.h"
#include "emulator/machine/ops/decode.h"

namespace emulator {
namespace {

constexpr uint8_t kPlain = 0, kFlush = 1, kSaturate = 2;  // bits of Instruction::mode; the rounding lies above them

/// Applies f, with subnormal numbers flushed and the result clamped as the mode says.
template <class F>
float finish(uint8_t mode, float value, F) {
  if (mode & kFlush) value = flush(value);
  if (mode & kSaturate) value = saturate(value);
  return value;
}

template <class F>
void apply1(Warp& w, const Instruction& i, F f) {
  const uint8_t mode = i.mode & 3;
  if (mode == kPlain) return map1<float, float>(w, i, f);
  map1<float, float>(w, i, [&](float a) { return finish(mode, f(mode & kFlush ? flush(a) : a), f); });
}
template <class F>
void apply2(Warp& w, const Instruction& i, F f) {
  const uint8_t mode = i.mode & 3;
  if (mode == kPlain) return map2<float, float, float>(w, i, f);
  map2<float, float, float>(w, i, [&](float a, float b) {
    return mode & kFlush ? finish(mode, f(flush(a), flush(b)), f) : finish(mode, f(a, b), f);
  });
}
template <class F>
void apply3(Warp& w, const Instruction& i, F f) {
  const uint8_t mode = i.mode & 3;
  if (mode == kPlain) return map3<float, float, float, float>(w, i, f);
  map3<float, float, float, float>(w, i, [&](float a, float b, float c) {
    return mode & kFlush ? finish(mode, f(flush(a), flush(b), flush(c)), f) : finish(mode, f(a, b, c), f);
  });
}

Rounding rounding_of(const Instruction& i) { return static_cast<Rounding>(i.mode >> 2); }

// A sum is a * 1 + c and a product a * b - 0; minus zero keeps the sign of a zero product.
void add_directed(Warp& w, const Instruction& i) {
  apply2(w, i, [r = rounding_of(i)](float a, float b) { return directed_fma(a, 1.f, b, r); });
}
void sub_directed(Warp& w, const Instruction& i) {
  apply2(w, i, [r = rounding_of(i)](float a, float b) { return directed_fma(a, 1.f, -b, r); });
}
void mul_directed(Warp& w, const Instruction& i) {
  apply2(w, i, [r = rounding_of(i)](float a, float b) { return directed_fma(a, b, -0.f, r); });
}
void fma_directed(Warp& w, const Instruction& i) {
  apply3(w, i, [r = rounding_of(i)](float a, float b, float c) { return directed_fma(a, b, c, r); });
}

Run select(const std::string& op, bool nan) {
  if (op == "add") return [](Warp& w, const Instruction& i) { apply2(w, i, [](float a, float b) { return a + b; }); };
  if (op == "sub") return [](Warp& w, const Instruction& i) { apply2(w, i, [](float a, float b) { return a - b; }); };
  if (op == "mul") return [](Warp& w, const Instruction& i) { apply2(w, i, [](float a, float b) { return a * b; }); };
  if (op == "div") return [](Warp& w, const Instruction& i) { apply2(w, i, [](float a, float b) { return a / b; }); };
  if (op == "fma" || op == "mad")
    return [](Warp& w, const Instruction& i) {
      apply3(w, i, [](float a, float b, float c) { return std::fma(a, b, c); });
    };
  if (op == "neg") return [](Warp& w, const Instruction& i) { apply1(w, i, [](float a) { return -a; }); };
  if (op == "abs") return [](Warp& w, const Instruction& i) { apply1(w, i, [](float a) { return std::abs(a); }); };
  if (op == "min")
    return nan ? [](Warp& w, const Instruction& i) { apply2(w, i, extremum<false, true, float>); }
               : [](Warp& w, const Instruction& i) { apply2(w, i, extremum<false, false, float>); };
  if (op == "max")
    return nan ? [](Warp& w, const Instruction& i) { apply2(w, i, extremum<true, true, float>); }
               : [](Warp& w, const Instruction& i) { apply2(w, i, extremum<true, false, float>); };
  if (op == "copysign")
    return [](Warp& w, const Instruction& i) { apply2(w, i, [](float a, float b) { return std::copysign(b, a); }); };
  return nullptr;
}

Run select_directed(const std::string& op) {
  if (op == "add") return add_directed;
  if (op == "sub") return sub_directed;
  if (op == "mul") return mul_directed;
  if (op == "fma") return fma_directed;
  return nullptr;
}

}  // namespace

void decode_float(Decoder& d, Instruction& i, const std::string& op, ptx::ScalarType type) {
  if (type.kind != ptx::Type::kFloat) d.unknown();
  i.kind = InstructionClass::kFloat;
  if (d.take("ftz")) i.mode |= kFlush;
  if (d.take("sat")) i.mode |= kSaturate;
  if (op == "div" && (d.take("approx") || d.take("full"))) i.kind = InstructionClass::kSpecialFunction;
  const std::string rounding = d.take_any({"rn", "rz", "rm", "rp"});
  if (rounding.empty() || rounding == "rn") {
    i.run = select(op, d.take("NaN"));
  } else {
    const auto r = rounding == "rz" ? Rounding::kZero : rounding == "rm" ? Rounding::kDown : Rounding::kUp;
    i.mode |= static_cast<uint8_t>(r) << 2;
    i.run = select_directed(op);
  }
  if (!i.run) d.unknown();
  const bool one = op == "neg" || op == "abs", three = op == "fma" || op == "mad";
  decode_operands(d, i, one ? 1 : three ? 3 : 2, 32);
}

}  // namespace emulator

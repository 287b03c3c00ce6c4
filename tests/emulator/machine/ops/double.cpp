// f64 arithmetic; only rounding to nearest, which is what C++ has.
#include <cmath>

#include "emulator/machine/lanes.h"
#include "emulator/machine/numbers.h"
#include "emulator/machine/ops/decode.h"

namespace emulator {
namespace {

Run select(const std::string& op) {
  if (op == "add")
    return [](Warp& w, const Instruction& i) {
      map2<double, double, double>(w, i, [](double a, double b) { return a + b; });
    };
  if (op == "sub")
    return [](Warp& w, const Instruction& i) {
      map2<double, double, double>(w, i, [](double a, double b) { return a - b; });
    };
  if (op == "mul")
    return [](Warp& w, const Instruction& i) {
      map2<double, double, double>(w, i, [](double a, double b) { return a * b; });
    };
  if (op == "div")
    return [](Warp& w, const Instruction& i) {
      map2<double, double, double>(w, i, [](double a, double b) { return a / b; });
    };
  if (op == "fma" || op == "mad")
    return [](Warp& w, const Instruction& i) {
      map3<double, double, double, double>(w, i, [](double a, double b, double c) { return std::fma(a, b, c); });
    };
  if (op == "min")
    return [](Warp& w, const Instruction& i) { map2<double, double, double>(w, i, extremum<false, false, double>); };
  if (op == "max")
    return [](Warp& w, const Instruction& i) { map2<double, double, double>(w, i, extremum<true, false, double>); };
  if (op == "neg")
    return [](Warp& w, const Instruction& i) { map1<double, double>(w, i, [](double a) { return -a; }); };
  if (op == "abs")
    return [](Warp& w, const Instruction& i) { map1<double, double>(w, i, [](double a) { return std::abs(a); }); };
  if (op == "copysign")
    return [](Warp& w, const Instruction& i) {
      map2<double, double, double>(w, i, [](double a, double b) { return std::copysign(b, a); });
    };
  return nullptr;
}

}  // namespace

void decode_double(Decoder& d, Instruction& i, const std::string& op, ptx::ScalarType) {
  i.kind = InstructionClass::kDouble;
  d.take("rn");
  i.run = select(op);
  if (!i.run) d.unknown();
  const bool one = op == "neg" || op == "abs", three = op == "fma" || op == "mad";
  decode_operands(d, i, one ? 1 : three ? 3 : 2, 64);
}

}  // namespace emulator

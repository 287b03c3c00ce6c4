// ex2, lg2, rcp, rsqrt, sqrt, sin, cos, tanh. The approximate forms are computed as exactly as the C library can, so
// they are somewhat better here than on the hardware.
#include <cmath>

#include "emulator/machine/lanes.h"
#include "emulator/machine/numbers.h"
#include "emulator/machine/ops/decode.h"

namespace emulator {
namespace {

template <double (*kFunction)(double)>
void plain(Warp& w, const Instruction& i) {
  map1<float, float>(w, i, [](float a) { return static_cast<float>(kFunction(a)); });
}
template <double (*kFunction)(double)>
void flushed(Warp& w, const Instruction& i) {
  map1<float, float>(w, i, [](float a) { return flush(static_cast<float>(kFunction(flush(a)))); });
}
template <double (*kFunction)(double)>
void in_double(Warp& w, const Instruction& i) {
  map1<double, double>(w, i, [](double a) { return kFunction(a); });
}
template <double (*kFunction)(double)>
void in_half(Warp& w, const Instruction& i) {
  map1<uint16_t, uint16_t>(w, i, [](uint16_t a) { return to_half(kFunction(half_to_float(a))); });
}

double exp2_of(double x) { return std::exp2(x); }
double log2_of(double x) { return std::log2(x); }
double reciprocal(double x) { return 1.0 / x; }
double square_root(double x) { return std::sqrt(x); }
double reciprocal_root(double x) { return 1.0 / std::sqrt(x); }
double sine(double x) { return std::sin(x); }
double cosine(double x) { return std::cos(x); }
double hyperbolic_tangent(double x) { return std::tanh(x); }

template <double (*kFunction)(double)>
Run select(ptx::ScalarType type, bool flushes) {
  if (type.bits == 64) return in_double<kFunction>;
  if (type.bits == 16) return type.kind == ptx::Type::kFloat && type.lanes == 1 ? in_half<kFunction> : nullptr;
  return flushes ? flushed<kFunction> : plain<kFunction>;
}

}  // namespace

void decode_function_unit(Decoder& d, Instruction& i) {
  const std::string& op = d.statement().opcode[0];
  const ptx::ScalarType type = d.take_type();
  if (!type.is_float()) d.unknown();
  i.kind = type.bits == 64 ? InstructionClass::kDouble : InstructionClass::kSpecialFunction;
  d.take_any({"approx", "rn"});
  const bool flushes = d.take("ftz");
  i.run = op == "ex2"     ? select<exp2_of>(type, flushes)
          : op == "lg2"   ? select<log2_of>(type, flushes)
          : op == "rcp"   ? select<reciprocal>(type, flushes)
          : op == "sqrt"  ? select<square_root>(type, flushes)
          : op == "rsqrt" ? select<reciprocal_root>(type, flushes)
          : op == "sin"   ? select<sine>(type, flushes)
          : op == "cos"   ? select<cosine>(type, flushes)
                          : select<hyperbolic_tangent>(type, flushes);
  if (!i.run) d.unknown();
  decode_operands(d, i, 1, type.width());
}

}  // namespace emulator

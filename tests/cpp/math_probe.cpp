// exp of cpu/primitives/math.h, compiled as a variant of its own.
#include "cpu/primitives/math.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

float exp_of(float x) { return exp(broadcast(x))[0]; }

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

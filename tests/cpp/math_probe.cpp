// exp of cpu/primitives/math.h and the mask of cpu/primitives/philox.h, compiled as a variant of its own.
#include "cpu/primitives/math.h"
#include "cpu/primitives/philox.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

float exp_of(float x) { return exp(broadcast(x))[0]; }

/// kLanes = 4 numbers of the mask.
void mask_of(const Dropout& dropout, uint64_t first, float* mask) { store(mask, dropout_mask(dropout, first)); }

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

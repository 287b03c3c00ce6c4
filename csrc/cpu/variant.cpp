#include "cpu/variant.h"

#include "cpu/runtime/memory.h"

#define ALBERT_FAST_STRING(x) #x
#define ALBERT_FAST_NAME(variant) "cpu/" ALBERT_FAST_STRING(variant)

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

/// Declared again in cpu/table.cpp, once per variant.
extern const Ops ops;
const Ops ops = {
    .name = ALBERT_FAST_NAME(ALBERT_FAST_VARIANT),
    .dtype = sizeof(real) == sizeof(double) ? DType::kFloat64 : DType::kFloat32,
    .allocate = allocate,
    .release = release,
    .linear_scratch = linear_scratch,
    .attention_scratch = attention_scratch,
    .embed = embed,
    .linear = linear,
    .layer_norm = layer_norm,
    .attention = attention,
    .pool = pool,
    .l2_normalize = l2_normalize,
    .pack_weight = pack_weight,
    .unpack_weight = unpack_weight,
};

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

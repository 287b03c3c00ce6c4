#include "cpu/variant.h"

#include "cpu/runtime/memory.h"

#define ALBERT_FAST_STRING(x) #x
#define ALBERT_FAST_NAME(variant) "cpu/" ALBERT_FAST_STRING(variant)

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {
namespace {

constexpr DType kDType = sizeof(real) == sizeof(double) ? DType::kFloat64 : DType::kFloat32;

bool takes_head_dim(int64_t) { return true; }

constexpr Ops kOps = {
    .name = ALBERT_FAST_NAME(ALBERT_FAST_VARIANT),
    .device = Device::kCpu,
    .dtype = kDType,
    .sum_dtype = kDType,
    .weight_dtype = kDType,
    .weight_form = WeightForm::kPacked,
    .width_multiple = 1,
    .widest_row = INT64_MAX,
    .takes_head_dim = takes_head_dim,
    .allocate = allocate,
    .release = release,
    .upload = copy,
    .download = copy,
    .copy = copy,
    .linear_scratch = linear_scratch,
    .attention_scratch = attention_scratch,
    .embed = embed,
    .linear = linear,
    .layer_norm = layer_norm,
    .attention = attention,
    .gather = gather,
    .pool = pool,
    .l2_normalize = l2_normalize,
    .pack_weight = pack_weight,
    .unpack_weight = unpack_weight,
};

constexpr Ops with_bfloat16_weights(Ops ops) {
  ops.weight_dtype = DType::kBFloat16;
  ops.pack_weight = pack_bfloat16_weight;
  ops.unpack_weight = unpack_bfloat16_weight;
  return ops;
}

}  // namespace

// Declared again in cpu/table.cpp, once per variant.
extern const Ops ops, ops_bfloat16;
const Ops ops = kOps;
const Ops ops_bfloat16 = with_bfloat16_weights(kOps);

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

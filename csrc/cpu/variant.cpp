#include "cpu/variant.h"
#include "cpu/table.h"

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
    .linear_input_grad_scratch = linear_input_grad_scratch,
    .linear_weight_grad_scratch = linear_weight_grad_scratch,
    .layer_norm_grad_scratch = layer_norm_grad_scratch,
    .attention_grad_scratch = attention_grad_scratch,
    .activate = activate,
    .activate_grad = activate_grad,
    .linear_input_grad = linear_input_grad,
    .linear_weight_grad = linear_weight_grad,
    .layer_norm_grad = layer_norm_grad,
    .attention_grad = attention_grad,
    .embed_grad = embed_grad,
    .scatter_add = scatter_add,
    .apply_dropout = apply_dropout,
    .cross_entropy = cross_entropy,
};

#ifdef ALBERT_FAST_NARROW_WEIGHTS
constexpr Ops with_weights(DType dtype, decltype(Ops::pack_weight) pack, decltype(Ops::unpack_weight) unpack) {
  Ops ops = kOps;
  ops.weight_dtype = dtype;
  ops.pack_weight = pack;
  ops.unpack_weight = unpack;
  return ops;
}
#endif

}  // namespace

// Declared again in cpu/table.cpp, once per variant.
#ifdef ALBERT_FAST_NARROW_WEIGHTS
extern const Ops tables[kFloatTables];
const Ops tables[kFloatTables] = {
    kOps,
    with_weights(DType::kBFloat16, pack_bfloat16_weight, unpack_bfloat16_weight),
    with_weights(DType::kInt16, pack_int16_weight, unpack_int16_weight),
    with_weights(DType::kInt8, pack_int8_weight, unpack_int8_weight),
};
#else
extern const Ops table;
const Ops table = kOps;
#endif

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

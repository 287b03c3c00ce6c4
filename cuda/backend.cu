// The tables, and the one function that this library exports.
#include "kernels/backend.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "linear_tiles.h"
#include "ops.h"
#include "pad_columns.h"
#include "runtime/device.h"
#include "runtime/memory.h"

namespace albert_fast::cuda {
namespace {

size_t no_scratch(int64_t, int64_t, Stream) { return 0; }

/// Of both gradients of `linear`: for dy [T, N].
template <typename T>
size_t linear_grad_scratch(int64_t num_tokens, int64_t rows, int64_t, Stream) {
  return pad_columns_scratch(sizeof(T), num_tokens, rows);
}

template <typename T>
Ops make_ops(const char* name, DType dtype) {
  Ops ops{};
  ops.name = name;
  ops.device = Device::kCuda;
  ops.dtype = dtype;
  ops.sum_dtype = DType::kFloat32;
  ops.weight_dtype = ops.dtype;
  ops.weight_form = WeightForm::kPlain;
  ops.width_multiple = kWidthMultiple;
  ops.widest_row = kWidestRow;
  ops.takes_head_dim = takes_head_dim;
  ops.allocate = allocate;
  ops.release = release;
  ops.upload = upload;
  ops.download = download;
  ops.copy = copy;
  ops.linear_scratch = no_scratch;
  ops.attention_scratch = no_scratch;
  ops.embed = embed<T>;
  ops.linear = linear<T>;
  ops.layer_norm = layer_norm<T>;
  ops.attention = attention<T>;
  ops.gather = gather<T>;
  ops.pool = pool<T>;
  ops.l2_normalize = l2_normalize<T>;
  ops.linear_input_grad_scratch = linear_grad_scratch<T>;
  ops.linear_weight_grad_scratch = linear_grad_scratch<T>;
  ops.linear_input_grad = linear_input_grad<T>;
  ops.linear_weight_grad = linear_weight_grad<T>;
  ops.activate = activate<T>;
  ops.activate_grad = activate_grad<T>;
  ops.layer_norm_grad_scratch = layer_norm_grad_scratch;
  ops.layer_norm_grad = layer_norm_grad<T>;
  ops.apply_dropout = apply_dropout<T>;
  ops.embed_grad = embed_grad<T>;
  ops.scatter_add = scatter_add<T>;
  ops.attention_grad_scratch = attention_grad_scratch;
  ops.attention_grad = attention_grad<T>;
  ops.cross_entropy = cross_entropy<T>;
  return ops;
}

const Ops* find_ops(DType dtype) {
  static const Ops tables[] = {make_ops<float>("cuda", DType::kFloat32), make_ops<__half>("cuda", DType::kFloat16),
                               make_ops<__nv_bfloat16>("cuda", DType::kBFloat16)};
  for (const Ops& ops : tables) {
    if (ops.dtype == dtype) return &ops;
  }
  return nullptr;
}

std::string describe_linear(DType dtype, int64_t num_tokens, int64_t rows, int64_t cols) {
  return describe(choose_linear_tile(dtype, num_tokens, rows, cols, device_limits()));
}

}  // namespace
}  // namespace albert_fast::cuda

extern "C" __attribute__((visibility("default"))) const albert_fast::Backend* albert_fast_backend() {
  namespace cuda = albert_fast::cuda;
  static const albert_fast::Backend backend = {sizeof(albert_fast::Ops), cuda::unavailable_reason, cuda::find_ops,
                                               cuda::current_device,     cuda::device_of,          cuda::order,
                                               cuda::synchronize,        cuda::describe_linear};
  return &backend;
}

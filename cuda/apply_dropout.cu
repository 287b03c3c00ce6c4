// y = x * mask / (1 - p) + residual
//
//   x, residual [T, H],  y [T, H] fp32 or T
//
// A thread owns vectors of 4 or 8 neighbours (primitives/elementwise.cuh), which are one or two counters of Philox: H
// is a multiple of 8, so that a vector begins at a multiple of 4 of the stream. It has read them before it writes: y
// may be x. What is left out is multiplied by 0 and not looked at any further: infinity becomes NaN, as in PyTorch.
#include "elementwise.h"
#include "matrix_checks.h"
#include "ops.h"
#include "primitives/philox.cuh"

namespace albert_fast::cuda {
namespace {

template <typename T, typename Y>
struct ApplyDropoutParameters {
  const T* x;
  const T* residual;  // or null
  Y* y;
  Extent extent;
  int64_t x_stride, residual_stride, y_stride;
  DropoutMask mask;
};

/// The widest vector of which both x and y move at most 16 bytes.
template <typename Y>
constexpr int kVector = 16 / sizeof(Y);

template <typename T, typename Y>
__global__ void __launch_bounds__(kElementwiseThreads) apply_dropout_kernel(ApplyDropoutParameters<T, Y> p) {
  walk_vectors<kVector<Y>>(p.extent.rows, p.extent.cols, [&](int64_t row, int64_t column) {
    float v[kVector<Y>], residual[kVector<Y>] = {};
    load_floats<kVector<Y>>(p.x + row * p.x_stride + column, v);
    if (p.residual != nullptr) load_floats<kVector<Y>>(p.residual + row * p.residual_stride + column, residual);
    drop(v, p.mask, static_cast<uint64_t>(row * p.extent.cols + column));
#pragma unroll
    for (int i = 0; i < kVector<Y>; ++i) v[i] += residual[i];
    store_vector(p.y + row * p.y_stride + column, v);
  });
}

template <typename T, typename Y>
void run(const ApplyDropout& op, Stream stream) {
  ApplyDropoutParameters<T, Y> parameters;
  parameters.x = static_cast<const T*>(op.x.data);
  parameters.residual = static_cast<const T*>(op.residual.data);
  parameters.y = static_cast<Y*>(op.y.data);
  parameters.extent = common_extent(op.x.rows, op.x.cols, {op.x, op.residual, op.y});
  parameters.x_stride = op.x.stride;
  parameters.residual_stride = op.residual.stride;
  parameters.y_stride = op.y.stride;
  parameters.mask = mask_of(op.dropout);
  launch(apply_dropout_kernel<T, Y>, elementwise_launch_shape(parameters.extent, kVector<Y>), stream, parameters);
}

}  // namespace

template <typename T>
void apply_dropout(const ApplyDropout& op, Stream stream) {
  check_rows("x", op.x);
  check_rows("residual", op.residual);
  check_rows("y", op.y);
  if (op.y_dtype == DType::kFloat32) return run<T, float>(op, stream);
  run<T, T>(op, stream);
}

template void apply_dropout<float>(const ApplyDropout&, Stream);
template void apply_dropout<__half>(const ApplyDropout&, Stream);
template void apply_dropout<__nv_bfloat16>(const ApplyDropout&, Stream);

}  // namespace albert_fast::cuda

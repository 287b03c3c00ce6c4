// y[t] = (x[t] - mean) / sqrt(var + eps) * gamma + beta
//
//   x [T, H] fp32 or T,  y [T, H],  gamma, beta [H]
//
//   shared memory:  | parts of sums | gamma [H] | beta [H] |      gamma and beta are read once, for all rows of the
//   block
//
//   block b:  group 0 | rows b, b + blocks * groups, ...          a group of threads holds a row in registers
//             group 1 | rows b + blocks, ...                      (primitives/row.cuh): read once, written once
//
// y may be x: a row is in registers before any of it is written, and no group touches another's row.
#include "matrix_checks.h"
#include "ops.h"
#include "primitives/row.cuh"
#include "row_shapes.h"

namespace albert_fast::cuda {
namespace {

template <typename T, typename X>
struct LayerNormParameters {
  const X* x;
  const T* gamma;
  const T* beta;
  T* y;
  int64_t rows, x_stride, y_stride;
  int width;
  float inverse_width;
  float eps;
};

template <typename T, typename X, typename Shape>
__global__ void __launch_bounds__(kRowBlockThreads) layer_norm_kernel(LayerNormParameters<T, X> p) {
  // The widest vector of which both x and y move at most 16 bytes.
  constexpr int kVector = 16 / (sizeof(X) > sizeof(T) ? sizeof(X) : sizeof(T));
  extern __shared__ RowSums sums[];
  T* const gamma = reinterpret_cast<T*>(sums + 1);
  T* const beta = gamma + p.width;
  copy_by_block(gamma, p.gamma, p.width);
  copy_by_block(beta, p.beta, p.width);
  __syncthreads();

  RowGroup<Shape::kThreads> group(*sums);
  walk_rows<Shape>(p.rows, [&](int64_t t) {
    Row<Shape, kVector> row(group, t < p.rows ? p.width : 0);
    row.load(p.x + t * p.x_stride);
    row.standardize(p.inverse_width, p.eps);
    row.store_scaled(gamma, beta, p.y + t * p.y_stride);
  });
}

template <typename T, typename X>
void run(const LayerNorm& op, Stream stream) {
  const LayerNormParameters<T, X> parameters{static_cast<const X*>(op.x.data),
                                             static_cast<const T*>(op.gamma),
                                             static_cast<const T*>(op.beta),
                                             static_cast<T*>(op.y.data),
                                             op.x.rows,
                                             op.x.stride,
                                             op.y.stride,
                                             static_cast<int>(op.x.cols),
                                             1.0f / static_cast<float>(op.x.cols),
                                             static_cast<float>(op.eps)};
  with_row_shape("x", op.x.cols, [&](auto shape) {
    using Shape = decltype(shape);
    const auto bytes = sizeof(RowSums) + 2 * static_cast<size_t>(op.x.cols) * sizeof(T);
    launch(layer_norm_kernel<T, X, Shape>, row_launch_shape<Shape>(op.x.rows, bytes), stream, parameters);
  });
}

}  // namespace

template <typename T>
void layer_norm(const LayerNorm& op, Stream stream) {
  check_rows("x", op.x);
  check_rows("y", op.y);
  check_aligned("gamma", op.gamma);
  check_aligned("beta", op.beta);
  if (op.x_dtype == DType::kFloat32) return run<T, float>(op, stream);
  run<T, T>(op, stream);
}

template void layer_norm<float>(const LayerNorm&, Stream);
template void layer_norm<__half>(const LayerNorm&, Stream);
template void layer_norm<__nv_bfloat16>(const LayerNorm&, Stream);

}  // namespace albert_fast::cuda

// dx, dgamma and dbeta of y = LayerNorm(x), from dy: the formulas and who adds what are in
// primitives/layer_norm_grad.cuh.
//
//   x [T, H] fp32 or T,  dy [T, H] fp32 or T,  dx [T, H],  gamma [H],  dgamma, dbeta [H] fp32
//
//   shared memory:  | parts of sums | gamma [H] |
//
// dx may be x or dy: a row of both is in registers before any of dx is written, and no group touches another's row.
#include "add_partials.h"
#include "matrix_checks.h"
#include "ops.h"
#include "primitives/layer_norm_grad.cuh"
#include "row_shapes.h"

namespace albert_fast::cuda {
namespace {

template <typename T, typename X, typename Dy>
struct LayerNormGradParameters {
  LayerNormGradRows grad;
  const X* x;
  const T* gamma;
  const Dy* dy;
  T* dx;
  int64_t x_stride, dy_stride, dx_stride;
};

template <typename T, typename X, typename Dy, typename Shape>
__global__ void __launch_bounds__(kGradThreads<Shape>) layer_norm_grad_kernel(LayerNormGradParameters<T, X, Dy> p) {
  // The widest vector of which all three move at most 16 bytes.
  constexpr int kVector = 16 / (sizeof(X) > sizeof(Dy) ? sizeof(X) : sizeof(Dy));
  extern __shared__ RowSums sums[];
  T* const gamma = reinterpret_cast<T*>(sums + 1);
  copy_by_block(gamma, p.gamma, p.grad.width);
  differentiate_rows<Shape, kVector>(
      *sums, p.grad, gamma, [&](auto& row, int64_t t) { row.load(p.x + t * p.x_stride); },
      [&](auto& row, int64_t t) { row.load(p.dy + t * p.dy_stride); },
      [&](auto& row, int64_t t) { row.store(p.dx + t * p.dx_stride); });
}

template <typename T, typename X, typename Dy>
void run(const LayerNormGrad& op, Stream stream) {
  LayerNormGradParameters<T, X, Dy> parameters;
  parameters.grad = {op.x.rows, static_cast<int>(op.x.cols), 1.0f / static_cast<float>(op.x.cols),
                     static_cast<float>(op.eps), static_cast<float*>(op.scratch.data)};
  parameters.x = static_cast<const X*>(op.x.data);
  parameters.gamma = static_cast<const T*>(op.gamma);
  parameters.dy = static_cast<const Dy*>(op.dy.data);
  parameters.dx = static_cast<T*>(op.dx.data);
  parameters.x_stride = op.x.stride;
  parameters.dy_stride = op.dy.stride;
  parameters.dx_stride = op.dx.stride;
  with_row_shape("x", op.x.cols, [&](auto shape) {
    using Shape = decltype(shape);
    const auto bytes = sizeof(RowSums) + static_cast<size_t>(op.x.cols) * sizeof(T);
    launch(layer_norm_grad_kernel<T, X, Dy, Shape>, grad_launch_shape<Shape>(op.x.rows, bytes), stream, parameters);
  });
  add_partials(parameters.grad.partials, num_partials(op.x.rows), op.x.cols, static_cast<float*>(op.dgamma),
               static_cast<float*>(op.dbeta), op.into, stream);
}

}  // namespace

size_t layer_norm_grad_scratch(int64_t num_tokens, int64_t cols, Stream) {
  return static_cast<size_t>(num_partials(num_tokens) * 2 * cols) * sizeof(float);
}

template <typename T>
void layer_norm_grad(const LayerNormGrad& op, Stream stream) {
  check_rows("x", op.x);
  check_rows("dy", op.dy);
  check_rows("dx", op.dx);
  check_aligned("gamma", op.gamma);
  const bool sums = op.x_dtype == DType::kFloat32, gradient_sums = op.dy_dtype == DType::kFloat32;
  if (sums && gradient_sums) return run<T, float, float>(op, stream);
  if (sums) return run<T, float, T>(op, stream);
  if (gradient_sums) return run<T, T, float>(op, stream);
  run<T, T, T>(op, stream);
}

template void layer_norm_grad<float>(const LayerNormGrad&, Stream);
template void layer_norm_grad<__half>(const LayerNormGrad&, Stream);
template void layer_norm_grad<__nv_bfloat16>(const LayerNormGrad&, Stream);

}  // namespace albert_fast::cuda

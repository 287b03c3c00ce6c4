// activate:       y = activation(x)
// activate_grad:  dx = dy * activation'(x),  y = activation(x)
//
//   x, dy, dx, y [T, I]
//
// A thread owns vectors of 16 bytes (primitives/elementwise.cuh), and has read all it needs of one before it writes:
// dx may be x, and y may be dy. Both ops compute y by the same instructions.
#include "elementwise.h"
#include "matrix_checks.h"
#include "ops.h"
#include "primitives/math.cuh"

namespace albert_fast::cuda {
namespace {

template <typename T>
constexpr int kVector = 16 / sizeof(T);

template <typename T>
struct ActivateParameters {
  const T* x;
  T* y;
  Extent extent;
  int64_t x_stride, y_stride;
  Activation activation;
};

template <typename T>
__global__ void __launch_bounds__(kElementwiseThreads) activate_kernel(ActivateParameters<T> p) {
  walk_vectors<kVector<T>>(p.extent.rows, p.extent.cols, [&](int64_t row, int64_t column) {
    float v[kVector<T>];
    load_floats<kVector<T>>(p.x + row * p.x_stride + column, v);
    activate(v, p.activation);
    store_vector(p.y + row * p.y_stride + column, v);
  });
}

template <typename T>
struct ActivateGradParameters {
  const T* x;
  const T* dy;
  T* dx;
  T* y;  // or null
  Extent extent;
  int64_t x_stride, dy_stride, dx_stride, y_stride;
  Activation activation;
};

template <typename T>
__global__ void __launch_bounds__(kElementwiseThreads) activate_grad_kernel(ActivateGradParameters<T> p) {
  walk_vectors<kVector<T>>(p.extent.rows, p.extent.cols, [&](int64_t row, int64_t column) {
    float v[kVector<T>], grad[kVector<T>];
    load_floats<kVector<T>>(p.x + row * p.x_stride + column, v);
    load_floats<kVector<T>>(p.dy + row * p.dy_stride + column, grad);
    activate_with_grad(v, grad, p.activation);
    store_vector(p.dx + row * p.dx_stride + column, grad);
    if (p.y != nullptr) store_vector(p.y + row * p.y_stride + column, v);
  });
}

}  // namespace

template <typename T>
void activate(const Activate& op, Stream stream) {
  check_rows("x", op.x);
  check_rows("y", op.y);
  const ActivateParameters<T> parameters{static_cast<const T*>(op.x.data),
                                         static_cast<T*>(op.y.data),
                                         common_extent(op.x.rows, op.x.cols, {op.x, op.y}),
                                         op.x.stride,
                                         op.y.stride,
                                         op.activation};
  launch(activate_kernel<T>, elementwise_launch_shape(parameters.extent, kVector<T>), stream, parameters);
}

template <typename T>
void activate_grad(const ActivateGrad& op, Stream stream) {
  check_rows("x", op.x);
  check_rows("dy", op.dy);
  check_rows("dx", op.dx);
  check_rows("y", op.y);
  ActivateGradParameters<T> parameters;
  parameters.x = static_cast<const T*>(op.x.data);
  parameters.dy = static_cast<const T*>(op.dy.data);
  parameters.dx = static_cast<T*>(op.dx.data);
  parameters.y = static_cast<T*>(op.y.data);
  parameters.extent = common_extent(op.x.rows, op.x.cols, {op.x, op.dy, op.dx, op.y});
  parameters.x_stride = op.x.stride;
  parameters.dy_stride = op.dy.stride;
  parameters.dx_stride = op.dx.stride;
  parameters.y_stride = op.y.stride;
  parameters.activation = op.activation;
  launch(activate_grad_kernel<T>, elementwise_launch_shape(parameters.extent, kVector<T>), stream, parameters);
}

template void activate<float>(const Activate&, Stream);
template void activate<__half>(const Activate&, Stream);
template void activate<__nv_bfloat16>(const Activate&, Stream);
template void activate_grad<float>(const ActivateGrad&, Stream);
template void activate_grad<__half>(const ActivateGrad&, Stream);
template void activate_grad<__nv_bfloat16>(const ActivateGrad&, Stream);

}  // namespace albert_fast::cuda

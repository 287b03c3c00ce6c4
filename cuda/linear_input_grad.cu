// dx[T, K] = dy[T, N] W[N, K] + residual, for y = x W^T
//
// One Product (primitives/product.cuh): in the place of x is dy, which has its depth, N, in its rows; in the place of
// the weight are the columns of W, whose depth runs down its rows, so that tiles of W are transposed on their way to
// registers. A block has one tile of dx:
//
//                    W  +---- columns, K ----+
//              depth, N |                    |
//                       +--------------------+
//     dy  +- depth, N -+ +-------------------+
//  tokens |            | |  a tile of dx     |
//         +------------+ +-------------------+
//
// Batch invariance: an element of dx is one chain over n ascending (for float: chains of a fixed length), whatever T
// and the tile are. Where N is no multiple of 8, dy is copied to rows that are: pad_columns.h.
#include <iterator>
#include <type_traits>

#include "linear_tiles.h"
#include "ops.h"
#include "pad_columns.h"
#include "primitives/product.cuh"
#include "products.h"

namespace albert_fast::cuda {
namespace {

template <typename T, int kIndex>
using Traits = ProductTraits<T, kGradientTiles, kIndex, Depth::kInRows, Depth::kInColumns>;

template <typename T, int kIndex>
__global__ void __launch_bounds__(Traits<T, kIndex>::kThreads)
    linear_input_grad_kernel(const __grid_constant__ Product<T> p) {
  compute_tile<Traits<T, kIndex>>(p);
}

template <typename T>
auto find_kernel(const LinearTile& tile) {
  if constexpr (std::is_same_v<T, float>) {
    return linear_input_grad_kernel<float, 0>;
  } else {
    static_assert(std::size(kGradientTiles) == 2);
    return tile == kGradientTiles[0] ? linear_input_grad_kernel<T, 0> : linear_input_grad_kernel<T, 1>;
  }
}

template <typename T>
void check_arguments(const LinearInputGrad& op) {
  constexpr ArgumentChecks kChecks{"linear_input_grad"};
  kChecks.weight(op.weight);
  kChecks.matrix("dy", op.dy, op.dy.rows, op.weight.rows);
  if (op.dy.cols % kWidthMultiple == 0) kChecks.operand("dy", op.dy);
  if (op.residual.data != nullptr) kChecks.matrix("residual", op.residual, op.dy.rows, op.weight.cols);
  kChecks.matrix("dx", op.dx, op.dy.rows, op.weight.cols);
  kChecks.result_dtype<T>("dx", op.dx_dtype);
}

}  // namespace

template <typename T>
void linear_input_grad(const LinearInputGrad& op, Stream stream) {
  check_arguments<T>(op);
  const ConstMatrix dy = pad_columns<T>(op.dy, op.scratch, stream);
  const LinearTile tile =
      choose_gradient_tile(dtype_of<T>(), dy.rows, op.weight.cols, op.weight.rows, device_limits()).tile;
  Product<T> p{};
  p.x = static_cast<const T*>(dy.data);
  p.x_stride = dy.stride;
  p.weight = static_cast<const T*>(op.weight.data);
  p.weight_stride = op.weight.cols;
  p.depth = static_cast<int>(op.weight.rows);
  p.epilogue = make_epilogue<T>(op.residual, op.dx, op.dx_dtype);
  launch_product(find_kernel<T>(tile), tile, p, stream);
}

template void linear_input_grad<float>(const LinearInputGrad&, Stream);
template void linear_input_grad<__half>(const LinearInputGrad&, Stream);
template void linear_input_grad<__nv_bfloat16>(const LinearInputGrad&, Stream);

}  // namespace albert_fast::cuda

// y[T, N] = activation(x[T, K] W[N, K]^T + bias) + residual
//
// One Product (primitives/product.cuh has the picture): rows of x and rows of the weight, both with their depth in
// rows. A block has one tile of y and adds up k in ascending order. An element of y does not depend on T, nor on the
// tile.
#include <iterator>
#include <string>
#include <type_traits>
#include <utility>

#include "linear_tiles.h"
#include "ops.h"
#include "primitives/product.cuh"
#include "products.h"

namespace albert_fast::cuda {
namespace {

template <typename T, int kIndex>
using Traits = ProductTraits<T, kMmaTiles, kIndex, Depth::kInRows, Depth::kInRows>;

template <typename T, int kIndex>
__global__ void __launch_bounds__(Traits<T, kIndex>::kThreads) linear_kernel(const __grid_constant__ Product<T> p) {
  compute_tile<Traits<T, kIndex>>(p);
}

template <typename T>
using Kernel = void (*)(Product<T>);

template <typename T, int... kIndices>
Kernel<T> find_kernel(const LinearTile& tile, std::integer_sequence<int, kIndices...>) {
  Kernel<T> found = nullptr;
  ((Traits<T, kIndices>::kTile == tile ? void(found = linear_kernel<T, kIndices>) : void()), ...);
  return found;
}

/// Hopper's own kernel (TMA, wgmma) would be another table of tiles, chosen by what DeviceLimits says of the device.
template <typename T>
Kernel<T> find_kernel(const LinearTile& tile) {
  constexpr int kCount = static_cast<int>(std::is_same_v<T, float> ? std::size(kSimtTiles) : std::size(kMmaTiles));
  return find_kernel<T>(tile, std::make_integer_sequence<int, kCount>());
}

constexpr ArgumentChecks kChecks{"linear"};

template <typename T>
void check_linear(const Linear& op) {
  const int64_t num_tokens = op.x.rows, num_rows = op.weight.rows, num_cols = op.weight.cols;
  kChecks.weight(op.weight);
  kChecks.matrix("x", op.x, num_tokens, num_cols);
  kChecks.matrix("y", op.y, num_tokens, num_rows);
  if (op.residual.data != nullptr) kChecks.matrix("residual", op.residual, num_tokens, num_rows);
  kChecks.operand("x", op.x);
  kChecks.result_dtype<T>("y", op.y_dtype);
}

}  // namespace

template <typename T>
void linear(const Linear& op, const LinearTile& tile, Stream stream) {
  check_linear<T>(op);
  if (op.x.rows == 0 || op.weight.rows == 0) return;
  const Kernel<T> kernel = find_kernel<T>(tile);
  kChecks.require(kernel != nullptr,
                  "tile: got one that is not in the table of " + std::string(name_of(dtype_of<T>())));

  Product<T> p{};
  p.x = static_cast<const T*>(op.x.data);
  p.weight = static_cast<const T*>(op.weight.data);
  p.x_stride = op.x.stride;
  p.weight_stride = op.weight.cols;
  p.depth = static_cast<int>(op.weight.cols);
  p.epilogue = make_epilogue<T>(op.residual, op.y, op.y_dtype);
  p.epilogue.activation = op.activation;
  p.epilogue.bias = static_cast<const T*>(op.bias);
  p.epilogue.vectors &= reinterpret_cast<uintptr_t>(op.bias) % (4 * sizeof(T)) == 0;
  launch_product(kernel, tile, p, stream);
}

template <typename T>
void linear(const Linear& op, Stream stream) {
  const LinearConfig config =
      choose_linear_tile(dtype_of<T>(), op.x.rows, op.weight.rows, op.weight.cols, device_limits());
  linear<T>(op, config.tile, stream);
}

template void linear<float>(const Linear&, const LinearTile&, Stream);
template void linear<__half>(const Linear&, const LinearTile&, Stream);
template void linear<__nv_bfloat16>(const Linear&, const LinearTile&, Stream);
template void linear<float>(const Linear&, Stream);
template void linear<__half>(const Linear&, Stream);
template void linear<__nv_bfloat16>(const Linear&, Stream);

}  // namespace albert_fast::cuda

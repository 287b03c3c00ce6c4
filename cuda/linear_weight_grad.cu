// dweight[N, K] (+)= dy[T, N]^T x[T, K] and dbias[n] (+)= sum over t of dy[t][n], both in fp32
//
// dweight is one Product (primitives/product.cuh) over the tokens: columns of dy in the place of x's rows, columns of x
// in the place of the weight's. Tiles of both are transposed on their way to registers. A block has one tile of
// dweight:
//
//                         x  +---- columns, K ----+
//                  depth, T  |                    |
//                            +--------------------+
//     dy^T    +- depth, T -+ +--------------------+
//  columns, N |            | |  a tile of dweight |
//             +------------+ +--------------------+
//
// dbias: a block has kColumns columns of dy, a thread kWidth of them in every kRowsAtOnce-th row:
//
//     token 0    | thread 0 | 1 | 2 | 3 |     one chunk of 16 bytes each; their sums meet in shared memory,
//     token 1    | thread 4 | 5 | 6 | 7 | ..  where thread c adds up those of column c
//
// Nothing is added atomically, and every sum has its own order, tokens ascending: the bits are the same in every run.
// They do not depend on the tile either. For float, sums over tokens are chains of a fixed length (SimtTile).
// Where N is no multiple of 8, dy is copied to rows that are: pad_columns.h.
#include <iterator>
#include <type_traits>

#include "linear_tiles.h"
#include "ops.h"
#include "pad_columns.h"
#include "primitives/number.cuh"
#include "primitives/product.cuh"
#include "products.h"

namespace albert_fast::cuda {
namespace {

template <typename T, int kIndex>
using Traits = ProductTraits<T, kGradientTiles, kIndex, Depth::kInColumns, Depth::kInColumns, float>;

template <typename T, int kIndex>
__global__ void __launch_bounds__(Traits<T, kIndex>::kThreads)
    linear_weight_grad_kernel(const __grid_constant__ Product<T, float> p) {
  compute_tile<Traits<T, kIndex>>(p);
}

template <typename T>
auto find_kernel(const LinearTile& tile) {
  if constexpr (std::is_same_v<T, float>) {
    return linear_weight_grad_kernel<float, 0>;
  } else {
    static_assert(std::size(kGradientTiles) == 2);
    return tile == kGradientTiles[0] ? linear_weight_grad_kernel<T, 0> : linear_weight_grad_kernel<T, 1>;
  }
}

template <typename T>
struct ColumnSums {
  const T* x;  // [num_rows][stride]
  int64_t stride;
  int64_t num_rows;
  int num_cols;
  bool add;
  float* sums;  // [num_cols]
};

/// Narrow blocks, of 64 bytes of a row (two whole sectors), spread a few thousand columns over all multiprocessors.
constexpr int kSumThreads = 256, kChunks = 4, kRowsAtOnce = kSumThreads / kChunks;

template <typename T>
__global__ void __launch_bounds__(kSumThreads) column_sums_kernel(ColumnSums<T> p) {
  constexpr int kWidth = 16 / sizeof(T), kColumns = kChunks * kWidth, kQuads = kWidth / 4;
  // [quad of a chunk][thread][column of a quad]; quads are 16 banks apart, so that all columns are in different banks.
  __shared__ alignas(16) float partial[kQuads][kSumThreads + kChunks][4];
  const int thread = threadIdx.x, first_column = blockIdx.x * kColumns;

  // 1. Each thread's rows.
  const int column = first_column + thread % kChunks * kWidth;
  float sums[kWidth] = {};
  if (column < p.num_cols) {
#pragma unroll 4
    for (int64_t row = thread / kChunks; row < p.num_rows; row += kRowsAtOnce) {
      float v[kWidth];
      load_floats(p.x + row * p.stride + column, v);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) sums[i] += v[i];
    }
  }
#pragma unroll
  for (int quad = 0; quad < kQuads; ++quad) {
    *reinterpret_cast<float4*>(partial[quad][thread]) =
        make_float4(sums[4 * quad], sums[4 * quad + 1], sums[4 * quad + 2], sums[4 * quad + 3]);
  }
  __syncthreads();

  // 2. A thread to a column.
  if (thread >= kColumns || first_column + thread >= p.num_cols) return;
  const int chunk = thread / kWidth, quad = thread % kWidth / 4;
  float sum = 0;
  for (int row = 0; row < kRowsAtOnce; ++row) sum += partial[quad][row * kChunks + chunk][thread % 4];
  float& to = p.sums[first_column + thread];
  to = p.add ? to + sum : sum;
}

template <typename T>
void add_column_sums(const ConstMatrix& x, void* sums, bool add, Stream stream) {
  constexpr int kColumns = kChunks * 16 / sizeof(T);
  const ColumnSums<T> p{static_cast<const T*>(x.data), x.stride, x.rows,
                        static_cast<int>(x.cols),      add,      static_cast<float*>(sums)};
  const LaunchShape launch_shape{dim3(static_cast<unsigned>((x.cols + kColumns - 1) / kColumns)), dim3(kSumThreads)};
  launch(column_sums_kernel<T>, launch_shape, stream, p);
}

void check_arguments(const LinearWeightGrad& op) {
  constexpr ArgumentChecks kChecks{"linear_weight_grad"};
  const int64_t num_tokens = op.dy.rows, rows = op.dy.cols, cols = op.x.cols;
  kChecks.require(num_tokens <= INT_MAX && rows <= INT_MAX,
                  "dy: got shape " + shape(num_tokens, rows) + ", expected both below 2^31");
  kChecks.matrix("dy", op.dy, num_tokens, rows);
  if (rows % kWidthMultiple == 0) kChecks.operand("dy", op.dy);
  kChecks.require(cols % kWidthMultiple == 0 && cols <= INT_MAX,
                  "x: got shape " + shape(op.x.rows, cols) + ", expected columns that are a multiple of " +
                      std::to_string(kWidthMultiple) + " and below 2^31");
  kChecks.matrix("x", op.x, num_tokens, cols);
  kChecks.operand("x", op.x);
  kChecks.matrix("dweight", op.dweight, rows, cols);
}

}  // namespace

template <typename T>
void linear_weight_grad(const LinearWeightGrad& op, Stream stream) {
  check_arguments(op);
  const bool add = op.into == Into::kAdd;
  if (add && op.dy.rows == 0) return;
  const ConstMatrix dy = pad_columns<T>(op.dy, op.scratch, stream);
  if (op.dbias != nullptr) add_column_sums<T>(dy, op.dbias, add, stream);
  const LinearTile tile = choose_gradient_tile(dtype_of<T>(), dy.cols, op.x.cols, dy.rows, device_limits()).tile;
  Product<T, float> p{};
  p.x = static_cast<const T*>(dy.data);
  p.x_stride = dy.stride;
  p.weight = static_cast<const T*>(op.x.data);
  p.weight_stride = op.x.stride;
  p.depth = static_cast<int>(dy.rows);
  p.epilogue = make_epilogue<float>(add ? ConstMatrix(op.dweight) : ConstMatrix(), op.dweight, DType::kFloat32);
  launch_product(find_kernel<T>(tile), tile, p, stream);
}

template void linear_weight_grad<float>(const LinearWeightGrad&, Stream);
template void linear_weight_grad<__half>(const LinearWeightGrad&, Stream);
template void linear_weight_grad<__nv_bfloat16>(const LinearWeightGrad&, Stream);

}  // namespace albert_fast::cuda

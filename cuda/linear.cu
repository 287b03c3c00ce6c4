// y[T, N] = activation(x[T, K] W[N, K]^T + bias) + residual
//
//                                weight: rows of it, N
//                           +------------ rows ------------+
//                     depth |                              |   a stage, in shared memory: one step along K of both
//                           +------------------------------+   operands, copied by all threads (TileCopy)
//     x      +-- depth --+  +---------+---------+----------+
//            |           |  |  warp 0 |  warp 1 | ...      |   a tile of y, one block's: warps_m x warps_n warps,
//     tokens |           |  +---------+---------+----------+   each with its sums in registers (MmaTile, or SimtTile
//            |           |  |         |         |          |   for float)
//            +-----------+  +---------+---------+----------+
//
// Stages pass through a ring of kStages buffers. Invariants where stage s begins:
//   1. stage s is in its buffer and its first fragments are in registers;
//   2. stages s + 1 .. s + kStages - 1 are on their way, one group of copies each;
//   3. before the last products of stage s, one barrier says two things: stage s + 1 has arrived for everybody, and
//      everybody has read all of stage s, so that stage s + kStages can take its buffer.
// Stages beyond K copy zeros, which reads nothing and adds nothing: the loop has no special cases.
//
// Batch invariance: an element of y is one chain over k ascending (for float: chains of a fixed length), with the same
// instruction and operand roles in every tile; T and the tile decide only which block computes it.
#include <climits>
#include <iterator>
#include <string>
#include <type_traits>
#include <utility>

#include "kernels/errors.h"
#include "linear_tiles.h"
#include "matrix_checks.h"
#include "ops.h"
#include "primitives/epilogue.cuh"
#include "primitives/mma_tile.cuh"
#include "primitives/simt_tile.cuh"
#include "primitives/tile.cuh"
#include "runtime/launch.h"

namespace albert_fast::cuda {
namespace {

template <typename T>
struct LinearParameters {
  const T* x;       // [num_tokens][x_stride], num_cols of it used
  const T* weight;  // [num_rows][num_cols]
  int64_t x_stride;
  int num_cols;
  int token_tiles;
  int row_tiles;
  Epilogue<T> epilogue;  // has num_tokens and num_rows
};

/// Tile kIndex of the table of T, as the kernel sees it.
template <typename T, int kIndex>
struct TileTraits {
  static constexpr bool kSimt = std::is_same_v<T, float>;
  static constexpr LinearTile kTile = kSimt ? kSimtTiles[kSimt ? kIndex : 0] : kMmaTiles[kIndex];
  static constexpr int kTokens = kTile.tokens, kRows = kTile.rows, kDepth = kTile.depth, kStages = kTile.stages;
  static constexpr int kThreads = 32 * kTile.warps_m * kTile.warps_n;
  using Product = std::conditional_t<kSimt, SimtTile<kTokens, kRows, kDepth, kTile.warps_m>,
                                     MmaTile<T, kTokens, kRows, kDepth, kTile.warps_m, kTile.warps_n>>;
  using CopyX = TileCopy<T, kTokens, kDepth, kThreads>;
  using CopyWeight = TileCopy<T, kRows, kDepth, kThreads>;
  using Output = SlabEpilogue<T, Product::kSlabRows, kRows, kThreads>;
  static constexpr int kXBytes = kTokens * kDepth * sizeof(T);
  static constexpr int kStageBytes = (kTokens + kRows) * kDepth * sizeof(T);
  static_assert(shared_bytes(kTile, sizeof(T)) == kStages * kStageBytes);
  static_assert(Product::kSlabRows * Output::kStride * 4 <= kStages * kStageBytes, "sums leave through the buffers");
};

struct TileIndex {
  int token_tile;
  int row_tile;
};

/// Which tile a block computes. Blocks that run at the same time should share operands in L2: of a group of kGroup
/// tiles of tokens, all take one tile of rows before the next; about a hundred blocks are then as tall as wide.
__device__ TileIndex tile_of_block(int block, int token_tiles, int row_tiles) {
  constexpr int kGroup = 8;
  const int group = block / (kGroup * row_tiles);
  const int in_group = block % (kGroup * row_tiles);
  const int height = min(kGroup, token_tiles - group * kGroup);
  return {group * kGroup + in_group % height, in_group / height};
}

/// At most 255 registers: 64 x 64 warp tiles have 128 of sums and 64 of fragments. Their blocks are bound by that and
/// by shared memory to one (256 threads) or two (128) per multiprocessor, so no minimum of blocks is asked for.
template <typename T, int kIndex>
__global__ void __launch_bounds__(TileTraits<T, kIndex>::kThreads)
    linear_kernel(const __grid_constant__ LinearParameters<T> p) {
  using Traits = TileTraits<T, kIndex>;
  using Product = typename Traits::Product;
  constexpr int kSteps = Product::kSteps, kStages = Traits::kStages;
  extern __shared__ __align__(256) unsigned char buffers[];  // [kStages][x tile, weight tile]
  const uint32_t first_buffer = shared_address(buffers);
  const auto after = [&](uint32_t buffer) {
    const uint32_t next = buffer + Traits::kStageBytes;
    return next == first_buffer + kStages * Traits::kStageBytes ? first_buffer : next;
  };

  const TileIndex tile = tile_of_block(blockIdx.x, p.token_tiles, p.row_tiles);
  const int64_t first_token = int64_t{tile.token_tile} * Traits::kTokens;
  const int64_t first_row = int64_t{tile.row_tile} * Traits::kRows;
  typename Traits::CopyX x(p.x, p.x_stride, p.epilogue.num_tokens, p.num_cols, first_token);
  typename Traits::CopyWeight weight(p.weight, p.num_cols, p.epilogue.num_rows, p.num_cols, first_row);
  const auto copy_next = [&](uint32_t buffer) {
    x.copy_next(buffer);
    weight.copy_next(buffer + Traits::kXBytes);
    commit_copies();
  };

  Product product;
  typename Product::Fragments fragments[2];
  const auto load = [&](int step, uint32_t buffer) {
    product.load(fragments[step % 2], buffer, buffer + Traits::kXBytes, step % kSteps);
  };
  static_assert(kSteps % 2 == 0, "the two sets of fragments take turns across stages too");

  // 1. Fill the ring.
#pragma unroll
  for (int stage = 0; stage < kStages; ++stage) copy_next(first_buffer + stage * Traits::kStageBytes);
  wait_copies<kStages - 1>();
  __syncthreads();
  uint32_t buffer = first_buffer;
  load(0, buffer);

  // 2. The sums. The fragments of the next step are on their way while those of this one are multiplied.
  const int num_stages = (p.num_cols + Traits::kDepth - 1) / Traits::kDepth;
#pragma unroll 1
  for (int stage = 0; stage < num_stages; ++stage) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      if (step + 1 == kSteps) {
        wait_copies<kStages - 2>();
        __syncthreads();
        const uint32_t read = buffer;
        buffer = after(buffer);
        load(kSteps, buffer);
        copy_next(read);
      } else {
        load(step + 1, buffer);
      }
      product.multiply(fragments[step % 2]);
    }
    product.end_stage(stage);
  }

  // 3. The sums leave in slabs of rows, through shared memory, so that whole rows of the tile are written at once.
  const typename Traits::Output output(p.epilogue, first_row);
  wait_copies<0>();
#pragma unroll 1
  for (int slab = 0; slab < Product::kSlabs; ++slab) {
    __syncthreads();  // everybody has read the last stage, or the slab before
    product.store(first_buffer, Traits::Output::kStride, slab);
    __syncthreads();
    output.finish(first_buffer, [&](int row) { return first_token + Product::token_of(slab, row); });
  }
}

template <typename T>
using Kernel = void (*)(LinearParameters<T>);

template <typename T, int... kIndices>
Kernel<T> find_kernel(const LinearTile& tile, std::integer_sequence<int, kIndices...>) {
  Kernel<T> found = nullptr;
  ((TileTraits<T, kIndices>::kTile == tile ? void(found = linear_kernel<T, kIndices>) : void()), ...);
  return found;
}

/// Hopper's own kernel (TMA, wgmma) would be another table of tiles, chosen by what DeviceLimits says of the device.
template <typename T>
Kernel<T> find_kernel(const LinearTile& tile) {
  constexpr int kCount = static_cast<int>(std::is_same_v<T, float> ? std::size(kSimtTiles) : std::size(kMmaTiles));
  return find_kernel<T>(tile, std::make_integer_sequence<int, kCount>());
}

template <typename T>
constexpr DType dtype_of() {
  if (std::is_same_v<T, float>) return DType::kFloat32;
  return std::is_same_v<T, __half> ? DType::kFloat16 : DType::kBFloat16;
}

void require(bool holds, const std::string& message) {
  if (!holds) throw InvalidInputError("linear: " + message);
}

bool aligned(const void* data, int64_t bytes) { return reinterpret_cast<uintptr_t>(data) % bytes == 0; }

/// "[rows, cols]"
std::string shape(int64_t rows, int64_t cols) { return "[" + std::to_string(rows) + ", " + std::to_string(cols) + "]"; }

/// An operand or result of the given shape, with rows that do not overlap.
void check_matrix(const std::string& name, const ConstMatrix& m, int64_t rows, int64_t cols) {
  require(m.rows == rows && m.cols == cols,
          name + ": got shape " + shape(m.rows, m.cols) + ", expected " + shape(rows, cols));
  require(m.stride >= cols,
          name + ": got stride " + std::to_string(m.stride) + ", expected at least " + std::to_string(cols));
}

template <typename T>
void check_linear(const Linear& op) {
  const int64_t num_tokens = op.x.rows, num_rows = op.weight.rows, num_cols = op.weight.cols;
  require(op.weight.form == WeightForm::kPlain, "weight: got packed, expected plain [N, K]");
  require(num_cols % kWidthMultiple == 0 && num_cols <= INT_MAX && num_rows <= INT_MAX,
          "weight: got shape " + shape(num_rows, num_cols) + ", expected columns that are a multiple of " +
              std::to_string(kWidthMultiple) + " and both below 2^31");
  check_matrix("x", op.x, num_tokens, num_cols);
  check_matrix("y", op.y, num_tokens, num_rows);
  if (op.residual.data != nullptr) check_matrix("residual", op.residual, num_tokens, num_rows);
  require(op.x.stride % kWidthMultiple == 0, "x: got stride " + std::to_string(op.x.stride) +
                                                 ", expected a multiple of " + std::to_string(kWidthMultiple));
  check_aligned("x", op.x.data);
  check_aligned("weight", op.weight.data);
  require(op.y_dtype == dtype_of<T>() || op.y_dtype == DType::kFloat32,
          std::string("y: got ") + name_of(op.y_dtype) + ", expected " + name_of(dtype_of<T>()) + " or float32");
}

/// Whether a thread's four columns are one access in bias, residual and y.
template <typename T>
bool takes_vectors(const Linear& op) {
  const auto rows_aligned = [](const ConstMatrix& m, int64_t element_size) {
    return m.stride % 4 == 0 && aligned(m.data, 4 * element_size);
  };
  return aligned(op.bias, 4 * sizeof(T)) && rows_aligned(op.residual, sizeof(T)) &&
         rows_aligned(op.y, size_of(op.y_dtype));
}

}  // namespace

template <typename T>
void linear(const Linear& op, const LinearTile& tile, Stream stream) {
  check_linear<T>(op);
  const int64_t num_tokens = op.x.rows, num_rows = op.weight.rows;
  if (num_tokens == 0 || num_rows == 0) return;
  const Kernel<T> kernel = find_kernel<T>(tile);
  require(kernel != nullptr, "tile: got one that is not in the table of " + std::string(name_of(dtype_of<T>())));

  LinearParameters<T> p{};
  p.x = static_cast<const T*>(op.x.data);
  p.weight = static_cast<const T*>(op.weight.data);
  p.x_stride = op.x.stride;
  p.num_cols = static_cast<int>(op.weight.cols);
  p.token_tiles = static_cast<int>((num_tokens + tile.tokens - 1) / tile.tokens);
  p.row_tiles = static_cast<int>((num_rows + tile.rows - 1) / tile.rows);
  p.epilogue.bias = static_cast<const T*>(op.bias);
  p.epilogue.activation = op.activation;
  p.epilogue.residual = static_cast<const T*>(op.residual.data);
  p.epilogue.residual_stride = op.residual.stride;
  p.epilogue.y = op.y.data;
  p.epilogue.y_stride = op.y.stride;
  p.epilogue.y_dtype = op.y_dtype;
  p.epilogue.num_tokens = num_tokens;
  p.epilogue.num_rows = static_cast<int>(num_rows);
  p.epilogue.vectors = takes_vectors<T>(op);

  LaunchShape launch_shape;
  launch_shape.grid = dim3(static_cast<unsigned>(p.token_tiles) * static_cast<unsigned>(p.row_tiles));
  launch_shape.block = dim3(32 * tile.warps_m * tile.warps_n);
  launch_shape.shared_bytes = shared_bytes(tile, sizeof(T));
  launch(kernel, launch_shape, stream, p);
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

// The tiles `linear` and its gradients can run with, and which one they do: a pure function of the problem and the
// device.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/ops.h"
#include "runtime/device.h"

namespace albert_fast::cuda {

/// How one block computes its part of y [T, N].
struct LinearTile {
  int tokens;   // rows of y per block
  int rows;     // columns of y per block: rows of the weight
  int depth;    // k per stage
  int stages;   // of shared memory
  int warps_m;  // warps over tokens
  int warps_n;  // warps over rows
};

constexpr bool operator==(const LinearTile& a, const LinearTile& b) {
  return a.tokens == b.tokens && a.rows == b.rows && a.depth == b.depth && a.stages == b.stages &&
         a.warps_m == b.warps_m && a.warps_n == b.warps_n;
}

/// Shared memory of all stages, where an element has `element_size` bytes.
constexpr int shared_bytes(const LinearTile& tile, int element_size) {
  return tile.stages * (tile.tokens + tile.rows) * tile.depth * element_size;
}

/// For 16-bit types, all within the 99 KB a block of sm_86, 89 and 120 can have. Results do not depend on the tile.
/// The first two have warps of 64 x 64: smaller ones are bound by reading shared memory, not by the tensor cores. The
/// last three are for few tokens: what costs is the weight streaming past, so every multiprocessor needs rows of it,
/// and deep stages keep many of its bytes on their way.
inline constexpr LinearTile kMmaTiles[] = {
    {128, 256, 32, 4, 2, 4}, {128, 128, 32, 3, 2, 2}, {64, 64, 64, 4, 2, 2},
    {64, 32, 64, 4, 2, 2},   {32, 32, 128, 4, 2, 2},  {16, 32, 128, 4, 1, 4},
};

/// For the gradients of 16-bit types, which training computes for many tokens at a time: one whose warps are of 64 x
/// 64, and a smaller one for results that would not fill the device with it. Transposed operands have rows of 128 or
/// 256 bytes in both.
inline constexpr LinearTile kGradientTiles[] = {{128, 128, 32, 3, 2, 2}, {64, 64, 64, 4, 2, 2}};

/// For float, which is for checking: one is enough.
inline constexpr LinearTile kSimtTiles[] = {{64, 64, 32, 3, 8, 1}};

/// The choice, and what it means for this problem.
struct LinearConfig {
  LinearTile tile;
  int64_t num_blocks;
  size_t shared_bytes;
};

LinearConfig choose_linear_tile(DType dtype, int64_t num_tokens, int64_t rows, int64_t cols,
                                const DeviceLimits& limits);

/// The same for a gradient [result_rows, result_cols] that is a sum over `depth`.
LinearConfig choose_gradient_tile(DType dtype, int64_t result_rows, int64_t result_cols, int64_t depth,
                                  const DeviceLimits& limits);

/// "128 x 128 x 32, 3 stages, 2 x 2 warps of 64 x 64, 96 blocks, 49152 bytes"
std::string describe(const LinearConfig& config);

/// ops.h's linear with a tile of the caller's choice.
template <typename T>
void linear(const Linear& op, const LinearTile& tile, Stream stream);

}  // namespace albert_fast::cuda

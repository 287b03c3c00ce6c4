// Which tile a `linear` runs with: a pure function of the problem and the device.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/types.h"
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

/// The choice, and what it means for this problem.
struct LinearConfig {
  LinearTile tile;
  int64_t num_blocks;
  size_t shared_bytes;
};

LinearConfig choose_linear_tile(DType dtype, int64_t num_tokens, int64_t rows, int64_t cols,
                                const DeviceLimits& limits);

/// "128 x 128 x 32, 3 stages, 2 x 2 warps of 64 x 64, 96 blocks, 49152 bytes"
std::string describe(const LinearConfig& config);

}  // namespace albert_fast::cuda

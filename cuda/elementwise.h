// Host side of primitives/elementwise.cuh: what is walked over, and by how many blocks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "kernels/types.h"
#include "primitives/elementwise.cuh"
#include "runtime/device.h"
#include "runtime/launch.h"

namespace albert_fast::cuda {

struct Extent {
  int64_t rows, cols;
};

/// The extent of matrices of one shape, of which those without data do not count: one long row if in each of them a row
/// begins where the one before it ends, so that narrow rows leave no thread idle.
inline Extent common_extent(int64_t rows, int64_t cols, std::initializer_list<ConstMatrix> matrices) {
  for (const ConstMatrix& matrix : matrices) {
    if (matrix.data != nullptr && matrix.stride != cols) return {rows, cols};
  }
  return {1, rows * cols};
}

/// Blocks of kElementwiseThreads threads with kVector numbers each: no more than can be at work at once.
inline LaunchShape elementwise_launch_shape(const Extent& extent, int64_t vector) {
  constexpr int64_t kBlocksPerMultiprocessor = 2048 / kElementwiseThreads;  // threads of one
  constexpr int64_t kMostInY = 65535;
  const int64_t in_row = (extent.cols + kElementwiseThreads * vector - 1) / (kElementwiseThreads * vector);
  const int64_t most = kBlocksPerMultiprocessor * device_limits().multiprocessors;
  return {dim3(static_cast<unsigned>(std::min(in_row, most)), static_cast<unsigned>(std::min(extent.rows, kMostInY))),
          dim3(kElementwiseThreads)};
}

}  // namespace albert_fast::cuda

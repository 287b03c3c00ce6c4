// Whole rows on their way to shared memory.
#pragma once

#include <cstdint>

#include "primitives/tile.cuh"

namespace albert_fast::cuda {

/// Begins to copy rows [0, kRows) of one head to a swizzled tile; rows from num_rows on become zeros.
template <int kHeadDim, int kRows, int kCopyThreads, typename T>
__device__ void copy_rows(uint32_t tile, const T* rows, int64_t stride, int num_rows, int thread) {
  using Layout = SwizzledTile<kHeadDim * sizeof(T)>;
  constexpr int kRowsAtOnce = kCopyThreads / Layout::kChunks;
  static_assert(kCopyThreads % Layout::kChunks == 0 && kRows % kRowsAtOnce == 0);
  const int first = thread / Layout::kChunks, chunk = thread % Layout::kChunks;
  const T* from = rows + first * stride + chunk * (16 / sizeof(T));
#pragma unroll
  for (int row = first; row < first + kRows; row += kRowsAtOnce) {
    copy_async(tile + Layout::offset(row, chunk), from, row < num_rows);
    from += kRowsAtOnce * stride;
  }
}

}  // namespace albert_fast::cuda

// Tiles of a matrix on their way to shared memory, and how they lie there.
#pragma once

#include <cstdint>

#include "primitives/ptx.cuh"

namespace albert_fast::cuda {

/// Rows of kRowBytes one after the other; inside a row, chunk c of 16 bytes lies at place c ^ key(row):
///
///     64-byte rows, key row / 2 % 4     128-byte rows, key row % 8          longer rows, key row % 8
///     row 0: 0 1 2 3   row 1: 0 1 2 3   row 0: 0 1 2 3 4 5 6 7              as 128, in each 128 bytes of them
///     row 2: 1 0 3 2   row 3: 1 0 3 2   row 1: 1 0 3 2 5 4 7 6
///     row 4: 2 3 0 1   row 5: 2 3 0 1   row 2: 2 3 0 1 6 7 4 5 ...
///
/// A line of this picture is the 128 bytes of all banks. Shared memory serves 8 chunks at a time: 8 neighbours of a row
/// (or of two rows of 64 bytes), as copies write them, fill one line; the same chunk of rows 8i .. 8i + 7, as products
/// read it, has 8 different places. Both are free of bank conflicts.
template <int kRowBytes>
struct SwizzledTile {
  static_assert(kRowBytes == 64 || kRowBytes == 128 || kRowBytes == 256 || kRowBytes == 512);
  static constexpr int kChunks = kRowBytes / 16;
  static constexpr int kPeriod = 8;  // the key of row + kPeriod is that of row

  /// Offset in bytes of chunk `chunk` of row `row`. That of chunk ^ c is this offset ^ 16 c.
  __device__ static uint32_t offset(uint32_t row, uint32_t chunk) {
    const uint32_t key = kRowBytes == 64 ? row / 2 % 4 : row % 8;
    return row * kRowBytes + (chunk ^ key) * 16;
  }
};

/// One thread's share in copying kRows rows of a matrix to shared memory, kDepth columns after the other. What lies
/// beyond the matrix, in rows or columns, becomes zeros and is not read.
///
/// Neighbouring threads have neighbouring chunks of a row; each has the same chunk of every kRowsAtOnce-th row.
template <typename T, int kRows, int kDepth, int kThreads>
class TileCopy {
 public:
  using Layout = SwizzledTile<kDepth * sizeof(T)>;

  __device__ TileCopy(const T* matrix, int64_t stride, int64_t num_rows, int num_cols, int64_t first_row)
      : stride_(stride) {
    const int row = threadIdx.x / Layout::kChunks;
    const int chunk = threadIdx.x % Layout::kChunks;
    const int64_t rows_left = num_rows - first_row - row;
    from_ = matrix + (first_row + row) * stride + chunk * kChunkElements;
    to_ = Layout::offset(row, chunk);
    rows_left_ = static_cast<int>(rows_left < kRows ? rows_left : kRows);
    cols_left_ = num_cols - chunk * kChunkElements;
  }

  /// Begins to copy the next kDepth columns into `tile`.
  __device__ void copy_next(uint32_t tile) {
#pragma unroll
    for (int i = 0; i < kRows; i += kRowsAtOnce) {
      copy_async(tile + to_ + i * kDepth * sizeof(T), from_ + i * stride_, i < rows_left_ && cols_left_ > 0);
    }
    from_ += kDepth;
    cols_left_ -= kDepth;
  }

 private:
  static constexpr int kChunkElements = 16 / sizeof(T);
  static constexpr int kRowsAtOnce = kThreads / Layout::kChunks;
  static_assert(kThreads % Layout::kChunks == 0 && kRows % kRowsAtOnce == 0);
  static_assert(kRowsAtOnce % Layout::kPeriod == 0, "a thread's chunk has one place in all its rows");

  const T* from_;  // its chunk of its first row, in the columns that come next
  int64_t stride_;
  uint32_t to_;    // where that lies in a tile
  int rows_left_;  // of the matrix, from its first row on; its row i is there if i is less
  int cols_left_;  // of the matrix, from its chunk on; a multiple of a chunk
};

}  // namespace albert_fast::cuda

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
/// read it (transposed on the way or not), has 8 different places. Both are free of bank conflicts.
template <int kRowBytes>
struct SwizzledTile {
  static_assert(kRowBytes == 64 || kRowBytes == 128 || kRowBytes == 256 || kRowBytes == 512);
  static constexpr int kBytes = kRowBytes;  // of a row
  static constexpr int kChunks = kRowBytes / 16;
  static constexpr int kPeriod = 8;  // the key of row + kPeriod is that of row

  /// Offset in bytes of chunk `chunk` of row `row`. That of chunk ^ c is this offset ^ 16 c.
  __device__ static uint32_t offset(uint32_t row, uint32_t chunk) {
    const uint32_t key = kRowBytes == 64 ? row / 2 % 4 : row % 8;
    return row * kRowBytes + (chunk ^ key) * 16;
  }
};

/// How an operand of a product lies in memory: its rows run along the depth, over which the product sums, or the depth
/// is in its columns, as in the transpose of such a matrix.
enum class Depth { kInRows, kInColumns };

/// A tile of kCount rows (kInRows) or columns (kInColumns) of an operand, kDepth deep, as it lies in shared memory.
template <typename T, int kCount, int kDepth, Depth kOperand>
using OperandTile = SwizzledTile<(kOperand == Depth::kInRows ? kDepth : kCount) * sizeof(T)>;

/// One thread's share in copying kCount rows (or columns) of an operand to shared memory, kDepth of its depth after the
/// other. What lies beyond the operand becomes zeros and is not read.
///
///     kInRows: [kCount][kDepth], the next tile is to the right    kInColumns: [kDepth][kCount], the next tile is below
///
/// Neighbouring threads have neighbouring chunks of a row; each has the same chunk of every kRowsAtOnce-th row.
template <typename T, int kCount, int kDepth, int kThreads, Depth kOperand>
class TileCopy {
 public:
  using Layout = OperandTile<T, kCount, kDepth, kOperand>;

  /// Of rows or columns `first` .. of the `count` there are, each `depth` long; multiples of a chunk have memory.
  __device__ TileCopy(const T* operand, int64_t stride, int64_t count, int depth, int64_t first) : stride_(stride) {
    const int row = threadIdx.x / Layout::kChunks;
    const int chunk = threadIdx.x % Layout::kChunks;
    const int64_t left = count - first - (kInRows ? row : chunk * kChunkElements);
    from_ = operand +
            (kInRows ? (first + row) * stride + chunk * kChunkElements : row * stride + first + chunk * kChunkElements);
    to_ = Layout::offset(row, chunk);
    count_left_ = static_cast<int>(left < kCount ? left : kCount);
    depth_left_ = depth - (kInRows ? chunk * kChunkElements : row);
  }

  /// Begins to copy the next tile into `tile`.
  __device__ void copy_next(uint32_t tile) {
#pragma unroll
    for (int i = 0; i < kRows; i += kRowsAtOnce) {
      const bool valid = (kInRows ? i : 0) < count_left_ && (kInRows ? 0 : i) < depth_left_;
      copy_async(tile + to_ + i * kColumns * sizeof(T), from_ + i * stride_, valid);
    }
    from_ += kInRows ? kDepth : kDepth * stride_;
    depth_left_ -= kDepth;
  }

 private:
  static constexpr bool kInRows = kOperand == Depth::kInRows;
  static constexpr int kRows = kInRows ? kCount : kDepth, kColumns = kInRows ? kDepth : kCount;
  static constexpr int kChunkElements = 16 / sizeof(T);
  static constexpr int kRowsAtOnce = kThreads / Layout::kChunks;
  static_assert(kThreads % Layout::kChunks == 0 && kRows % kRowsAtOnce == 0);
  static_assert(kRowsAtOnce % Layout::kPeriod == 0, "a thread's chunk has one place in all its rows");

  const T* from_;  // its chunk of its first row, in the tile that comes next
  int64_t stride_;
  uint32_t to_;     // where that lies in a tile
  int count_left_;  // rows from its first on, or columns from its chunk on
  int depth_left_;  // columns from its chunk on, or rows from its first on; what there is comes before
};

}  // namespace albert_fast::cuda

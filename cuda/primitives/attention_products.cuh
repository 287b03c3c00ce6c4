// The products of attention and of its gradient for one warp on tensor cores: 16 rows of its own, other rows in tiles
// that all warps share, numbers of 16 bits. All rows are kHeadDim long and lie in swizzled tiles (tile.cuh).
//
//              other rows: kOthers / 8 x n8            head_dim = D: D / 8 x n8
//            +----+----+-- --+                       +----+----+-- --+
//     m16    | scores += own others^T  |       m16   | sums += weights others |
//            +----+----+-- --+                       +----+----+-- --+
//
// Lane i has rows i / 4 and i / 4 + 8 of all of these. An accumulator of scores (n8) is, rounded, half of the k16 of
// the weights of the second product: weights never leave their lane.
#pragma once

#include <cstdint>

#include "primitives/ptx.cuh"
#include "primitives/tile.cuh"

namespace albert_fast::cuda {

template <typename T, int kHeadDim>
struct AttentionProducts {
  using Layout = SwizzledTile<kHeadDim * sizeof(T)>;
  static constexpr int kRowBytes = kHeadDim * sizeof(T);
  static constexpr int kRows = 16;

  /// Columns 16 k .. 16 k + 15 of the kRows rows at this shared address.
  __device__ static void load_rows(uint32_t (&fragment)[4], uint32_t rows, int k) {
    const int lane = threadIdx.x % 32;
    load_matrices(fragment, rows + Layout::offset(lane % 16, 2 * k + lane / 16));
  }

  /// scores += own others^T over columns 16 k .. 16 k + 15
  template <int kN>
  __device__ static void add_scores(float (&scores)[kN][4], const uint32_t (&own)[4], uint32_t others, int k) {
    const int lane = threadIdx.x % 32;
    const uint32_t from = others + Layout::offset(lane % 8 + lane / 16 * 8, lane / 8 % 2);
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      uint32_t other[4];  // 16 rows at 16 of head_dim
      load_matrices(other, (from ^ (k * 32)) + n * 8 * kRowBytes);
      multiply_add(scores[n], own, other[0], other[1], T{});
      multiply_add(scores[n + 1], own, other[2], other[3], T{});
    }
  }

  /// sums += weights others, with weights rounded to T
  template <int kN>
  __device__ static void add_weighted(float (&sums)[kHeadDim / 8][4], const float (&weights)[kN][4], uint32_t others) {
    const int lane = threadIdx.x % 32;
    const uint32_t from = others + Layout::offset(lane % 16, lane / 16);
#pragma unroll
    for (int k = 0; k < kN / 2; ++k) {
      const float (&left)[4] = weights[2 * k];
      const float (&right)[4] = weights[2 * k + 1];
      const uint32_t rounded[4] = {pack(left[0], left[1], T{}), pack(left[2], left[3], T{}),
                                   pack(right[0], right[1], T{}), pack(right[2], right[3], T{})};
#pragma unroll
      for (int n = 0; n < kHeadDim / 8; n += 2) {
        uint32_t other[4];  // 16 rows at 16 of head_dim
        load_matrices_transposed(other, (from ^ (n * 16)) + k * 16 * kRowBytes);
        multiply_add(sums[n], rounded, other[0], other[1], T{});
        multiply_add(sums[n + 1], rounded, other[2], other[3], T{});
      }
    }
  }

  /// finish(sum, half of its row) of the first num_rows rows to `to`; `staging` is shared memory for kRows rows, of
  /// this warp alone.
  template <typename Finish>
  __device__ static void store(const float (&sums)[kHeadDim / 8][4], uint32_t staging, T* to, int64_t stride,
                               int num_rows, Finish finish) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int n = 0; n < kHeadDim / 8; ++n) {
        store_shared(staging + Layout::offset(lane / 4 + 8 * half, n) + lane % 4 * 4,
                     pack(finish(sums[n][2 * half], half), finish(sums[n][2 * half + 1], half), T{}));
      }
    }
    __syncwarp();
    const int chunk = lane % Layout::kChunks;
#pragma unroll
    for (int i = 0; i < kRows; i += 32 / Layout::kChunks) {
      const int row = i + lane / Layout::kChunks;
      if (row >= num_rows) continue;
      float results[4];  // 16 bytes, eight numbers
      load_shared(staging + Layout::offset(row, chunk), results);
      store_global(reinterpret_cast<float*>(to + row * stride + chunk * 8), results);
    }
  }
};

}  // namespace albert_fast::cuda

// Attention of one warp without tensor cores: 8 queries, keys in tiles of 32, floats. For checking, so accuracy comes
// first. It has the interface of MmaAttention.
//
// Scores: lane i has key i of the tile, for all queries. Out: lane i has kCols = head_dim / 32 columns, from kCols i
// on, of all queries; p passes between the two by shuffles. Sums over head_dim are chains of kScoreDepth, sums over
// keys chains of one tile, each added up in order: long chains round worse, and an error of a score is a relative one
// of p.
#pragma once

#include <cmath>
#include <cstdint>

#include "primitives/attention_dropout.cuh"
#include "primitives/ptx.cuh"
#include "primitives/tile.cuh"

namespace albert_fast::cuda {

/// The two products of attention and of its gradient, for kRows rows of a warp's own and 32 others, one to a lane.
template <int kHeadDim>
struct SimtProducts {
  using Layout = SwizzledTile<kHeadDim * sizeof(float)>;
  static constexpr int kCols = kHeadDim / 32;
  static constexpr int kScoreDepth = 32;
  static constexpr int kRows = 8;     // that one read of another serves; at head_dim 128 they have 64 registers of sums
  static constexpr int kOthers = 32;  // one for each lane

  /// scores = own others^T, for this lane's other row
  __device__ static void add_scores(float (&scores)[kRows], uint32_t own, uint32_t others) {
#pragma unroll
    for (int d = 0; d < kHeadDim; d += kScoreDepth) {
      float block[kRows] = {};
#pragma unroll
      for (int chunk = d / 4; chunk < (d + kScoreDepth) / 4; ++chunk) {
        const float4 k = load_shared(others + Layout::offset(threadIdx.x % 32, chunk));
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
          const float4 q = load_shared(own + Layout::offset(row, chunk));
          block[row] = fmaf(q.w, k.w, fmaf(q.z, k.z, fmaf(q.y, k.y, fmaf(q.x, k.x, block[row]))));
        }
      }
#pragma unroll
      for (int row = 0; row < kRows; ++row) scores[row] += block[row];
    }
  }

  /// sums += weights others, for this lane's columns
  __device__ static void add_weighted(float (&sums)[kRows][kCols], const float (&weights)[kRows], uint32_t others) {
    const int col0 = threadIdx.x % 32 * kCols;
    float block[kRows][kCols] = {};
#pragma unroll 4
    for (int other = 0; other < kOthers; ++other) {
      float v[kCols];
      load_shared(others + Layout::offset(other, col0 / 4) + col0 % 4 * 4, v);
#pragma unroll
      for (int row = 0; row < kRows; ++row) {
        const float weight = __shfl_sync(~0u, weights[row], other);
#pragma unroll
        for (int col = 0; col < kCols; ++col) block[row][col] = fmaf(weight, v[col], block[row][col]);
      }
    }
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
#pragma unroll
      for (int col = 0; col < kCols; ++col) sums[row][col] += block[row][col];
    }
  }

  /// finish(sum, row) of the first num_rows rows to `to`
  template <typename Finish>
  __device__ static void store(const float (&sums)[kRows][kCols], float* to, int64_t stride, int num_rows,
                               Finish finish) {
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      float results[kCols];
#pragma unroll
      for (int col = 0; col < kCols; ++col) results[col] = finish(sums[row][col], row);
      if (row < num_rows) store_global(to + row * stride + threadIdx.x % 32 * kCols, results);
    }
  }
};

template <int kHeadDim, bool kDropout>
class SimtAttention {
  using Products = SimtProducts<kHeadDim>;
  static constexpr int kCols = Products::kCols;

 public:
  static constexpr int kRows = Products::kRows;
  static constexpr int kKeys = Products::kOthers;
  static constexpr bool kQueriesInRegisters = false;

  __device__ SimtAttention(uint32_t queries, float scale) : queries_(queries), scale_(scale) {
#pragma unroll
    for (float& maximum : maximum_) maximum = -INFINITY;
  }

  __device__ void add_keys(uint32_t keys, uint32_t values, int num_keys, const AttentionDropout& dropout) {
    float p[kRows] = {};
    Products::add_scores(p, queries_, keys);
    const bool exists = static_cast<int>(threadIdx.x % 32) < num_keys;
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      const float score = exists ? p[row] * scale_ : -INFINITY;
      const float maximum = fmaxf(maximum_[row], maximum_of_warp(score));
      p[row] = expf(score - maximum);
      const float correction = expf(maximum_[row] - maximum);  // 0 at the first tile
      sum_[row] = sum_[row] * correction + p[row];
      maximum_[row] = maximum;
#pragma unroll
      for (int col = 0; col < kCols; ++col) out_[row][col] *= correction;
      if constexpr (kDropout) p[row] *= dropout.of(row, threadIdx.x % 32);
    }
    Products::add_weighted(out_, p, values);
  }

  __device__ void store(uint32_t, float* to, int64_t stride, int num_rows, float* lse, int64_t lse_stride) const {
    float totals[kRows];
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      totals[row] = sum_of_warp(sum_[row]);
      if (lse != nullptr && threadIdx.x % 32 == 0 && row < num_rows) {
        lse[row * lse_stride] = maximum_[row] + logf(totals[row]);
      }
    }
    Products::store(out_, to, stride, num_rows, [&](float x, int row) { return x / totals[row]; });
  }

 private:
  __device__ static float maximum_of_warp(float x) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, lanes));
    return x;
  }

  __device__ static float sum_of_warp(float x) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(~0u, x, lanes);
    return x;
  }

  uint32_t queries_;  // shared address of this warp's rows
  float scale_;
  float maximum_[kRows];
  float sum_[kRows] = {};         // of this lane's keys
  float out_[kRows][kCols] = {};  // to be divided by the total of p
};

}  // namespace albert_fast::cuda

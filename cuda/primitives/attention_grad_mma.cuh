// The gradient of attention for one warp on tensor cores: 16 rows of its own, numbers of 16 bits. Written once for the
// two ways that kernels walk: own queries over all keys, for dq, or own keys over all queries, for dk and dv.
//
//              own queries: others are keys               own keys: others are queries
//     scores   q k^T                                      k q^T
//     dp       dout v^T                                   v dout^T
//     sums     dq += dS k                                 dk += dS^T q,  dv += (P M)^T dout
//
// Lane i has rows i / 4 and i / 4 + 8 of all of these. Products and sums are fp32; dS and P M are rounded to T to be
// multiplied.
#pragma once

#include <cstdint>

#include "primitives/attention_dropout.cuh"
#include "primitives/attention_products.cuh"
#include "primitives/ptx.cuh"

namespace albert_fast::cuda {

/// Shared addresses of a tile of others.
struct AttentionGradTile {
  uint32_t first;   // keys or queries
  uint32_t second;  // values or dout
  uint32_t lse;     // of queries; with own keys only
  uint32_t delta;   // the same
};

template <typename T, int kHeadDim, bool kOwnKeys, bool kDropout>
class MmaAttentionGrad {
  using Products = AttentionProducts<T, kHeadDim>;
  static constexpr float kLog2E = 1.4426950408889634f;

 public:
  static constexpr int kRows = Products::kRows;
  /// At head_dim 128 the sums of dk and dv are 128 registers: scores and dp of 32 others have another 32.
  static constexpr int kOthers = kHeadDim == 128 ? 32 : 64;

  /// `first`, `second`: shared addresses of this warp's queries and dout, or keys and values.
  __device__ MmaAttentionGrad(uint32_t first, uint32_t second, float scale)
      : first_(first), second_(second), scale_(scale) {}

  /// Of own queries: lse and delta of num_rows rows, `stride` apart.
  __device__ void load_own(const float* lse, const float* delta, int64_t stride, int num_rows) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = threadIdx.x % 32 / 4 + 8 * half;
      lse_[half] = row < num_rows ? lse[row * stride] : 0;
      delta_[half] = row < num_rows ? delta[row * stride] : 0;
    }
  }

  /// The next kOthers others, of which the first num_others exist and the rest are zeros. `dropout` begins at the first
  /// of own and of others.
  __device__ void add(const AttentionGradTile& tile, int num_others, const AttentionDropout& dropout) {
    float scores[kOthers / 8][4] = {}, dp[kOthers / 8][4] = {};
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) {
      uint32_t own[4];
      Products::load_rows(own, first_, k);
      Products::add_scores(scores, own, tile.first, k);
      Products::load_rows(own, second_, k);
      Products::add_scores(dp, own, tile.second, k);
    }
#pragma unroll
    for (int n = 0; n < kOthers / 8; ++n) {
      float factors[4] = {1, 1, 1, 1};
      if constexpr (kDropout && kOwnKeys) dropout.of_key_rows(factors, n);
      if constexpr (kDropout && !kOwnKeys) dropout.of_query_rows(factors, n);
      differentiate(scores[n], dp[n], factors, tile, n, num_others);
    }
    Products::add_weighted(first_sums_, dp, tile.first);
    if constexpr (kOwnKeys) Products::add_weighted(second_sums_, scores, tile.second);
  }

  /// dq or dk of the first num_rows rows to `to`. The warp's own rows are overwritten: nothing can be added after it.
  __device__ void store_first(T* to, int64_t stride, int num_rows) const {
    Products::store(first_sums_, first_, to, stride, num_rows, [&](float x, int) { return x * scale_; });
  }

  /// dv, the same.
  __device__ void store_second(T* to, int64_t stride, int num_rows) const {
    Products::store(second_sums_, second_, to, stride, num_rows, [](float x, int) { return x; });
  }

 private:
  /// Eight others: scores become P M and dp, before its mask, becomes dS. Where a query does not exist, its row is
  /// zeros and so is its lse: P = 1 is multiplied by zeros. A key that does not exist has P = 0.
  __device__ void differentiate(float (&scores)[4], float (&dp)[4], const float (&factors)[4],
                                const AttentionGradTile& tile, int n, int num_others) const {
    const int column = 8 * n + threadIdx.x % 4 * 2;
    float lse[2] = {lse_[0], lse_[1]}, delta[2] = {delta_[0], delta_[1]};
    if constexpr (kOwnKeys) {
      load_shared(tile.lse + column * sizeof(float), lse);
      load_shared(tile.delta + column * sizeof(float), delta);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int query = kOwnKeys ? i % 2 : i / 2;
      float p = exp2_approximate(fmaf(scores[i], scale_ * kLog2E, -lse[query] * kLog2E));
      if (!kOwnKeys && column + i % 2 >= num_others) p = 0;
      scores[i] = p * factors[i];
      dp[i] = p * (dp[i] * factors[i] - delta[query]);
    }
  }

  uint32_t first_, second_;
  float scale_;
  float lse_[2] = {}, delta_[2] = {};
  float first_sums_[kHeadDim / 8][4] = {};
  float second_sums_[kHeadDim / 8][4] = {};
};

}  // namespace albert_fast::cuda

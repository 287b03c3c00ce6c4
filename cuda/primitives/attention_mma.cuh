// Attention of one warp on tensor cores: 16 queries, keys in tiles of 64, numbers of 16 bits.
//
//              keys: 8 x n8                        head_dim = D: D / 8 x n8
//            +----+----+-- --+                   +----+----+-- --+
//     m16    | scores_ = q k^T |  -> softmax p ->  | out += p v      |
//            +----+----+-- --+                   +----+----+-- --+
//     one multiply_add is m16 n8 k16: over D for the scores, over keys for out, both ascending
//
// Lane i has rows i / 4 and i / 4 + 8 of q, scores, p and out. An accumulator of scores (n8) is, rounded, half of the
// k16 of an operand of p v: p never leaves its lane. Scores, p's sums and out are fp32; p is rounded to T for p v only.
#pragma once

#include <cmath>
#include <cstdint>

#include "primitives/attention_dropout.cuh"
#include "primitives/attention_products.cuh"
#include "primitives/ptx.cuh"
#include "primitives/softmax.cuh"

namespace albert_fast::cuda {

template <typename T, int kHeadDim, bool kDropout>
class MmaAttention {
  using Products = AttentionProducts<T, kHeadDim>;

 public:
  /// One m16. At head_dim 128 it has 128 registers in q, scores and out; twice as many rows would spill.
  static constexpr int kRows = 16;
  static constexpr int kKeys = 64;  // 32 registers of scores, over which one look at the maximum is spread
  static constexpr bool kQueriesInRegisters = true;

  /// `queries`: shared address of this warp's rows.
  __device__ MmaAttention(uint32_t queries, float scale) : softmax_(scale * 1.4426950408889634f) {
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) Products::load_rows(query_[k], queries, k);
  }

  /// The next kKeys keys and values, of which the first num_keys (at least 1) exist and the others are zeros; `dropout`
  /// is that of these queries from the first of these keys on.
  __device__ void add_keys(uint32_t keys, uint32_t values, int num_keys, const AttentionDropout& dropout) {
    float scores[kKeys / 8][4] = {};
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) Products::add_scores(scores, query_[k], keys, k);
    if (num_keys < kKeys) mask(scores, num_keys);
    float correction[2];
    softmax_.update(scores, correction);
#pragma unroll
    for (float (&out)[4] : out_) {
#pragma unroll
      for (int i = 0; i < 4; ++i) out[i] *= correction[i / 2];
    }
    if constexpr (kDropout) {
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) {
        float factors[4];
        dropout.of_query_rows(factors, n);
#pragma unroll
        for (int i = 0; i < 4; ++i) scores[n][i] *= factors[i];
      }
    }
    Products::add_weighted(out_, scores, values);
  }

  /// The first num_rows rows to `to`, and log(sum(exp(scores))) of each to lse, lse_stride apart, unless that is null;
  /// `staging` is shared memory for kRows rows, of this warp alone.
  __device__ void store(uint32_t staging, T* to, int64_t stride, int num_rows, float* lse, int64_t lse_stride) const {
    const float totals[2] = {softmax_.total(0), softmax_.total(1)};
    Products::store(out_, staging, to, stride, num_rows, [&](float x, int half) { return x / totals[half]; });
    if (lse == nullptr || threadIdx.x % 4 > 0) return;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = threadIdx.x % 32 / 4 + 8 * half;
      if (row < num_rows) lse[row * lse_stride] = softmax_.log_sum(half, totals[half]);
    }
  }

 private:
  __device__ static void mask(float (&scores)[kKeys / 8][4], int num_keys) {
    const int first = threadIdx.x % 4 * 2;
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (8 * n + first + i % 2 >= num_keys) scores[n][i] = -INFINITY;
      }
    }
  }

  uint32_t query_[kHeadDim / 16][4];
  float out_[kHeadDim / 8][4] = {};  // to be divided by the total of p
  OnlineSoftmax softmax_;
};

}  // namespace albert_fast::cuda

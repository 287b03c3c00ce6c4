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

#include "primitives/ptx.cuh"
#include "primitives/softmax.cuh"
#include "primitives/tile.cuh"

namespace albert_fast::cuda {

template <typename T, int kHeadDim>
class MmaAttention {
  using Layout = SwizzledTile<kHeadDim * sizeof(T)>;
  static constexpr int kRowBytes = kHeadDim * sizeof(T);

 public:
  /// One m16. At head_dim 128 it has 128 registers in q, scores and out; twice as many rows would spill.
  static constexpr int kRows = 16;
  static constexpr int kKeys = 64;  // 32 registers of scores, over which one look at the maximum is spread
  static constexpr bool kQueriesInRegisters = true;

  /// `queries`: shared address of this warp's rows.
  __device__ MmaAttention(uint32_t queries, float scale) : softmax_(scale * 1.4426950408889634f) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) {
      load_matrices(query_[k], queries + Layout::offset(lane % 16, 2 * k + lane / 16));
    }
  }

  /// The next kKeys keys and values, of which the first num_keys (at least 1) exist and the others are zeros.
  __device__ void add_keys(uint32_t keys, uint32_t values, int num_keys) {
    float scores[kKeys / 8][4] = {};
    multiply_keys(scores, keys);
    if (num_keys < kKeys) mask(scores, num_keys);
    float correction[2];
    softmax_.update(scores, correction);
#pragma unroll
    for (float (&out)[4] : out_) {
#pragma unroll
      for (int i = 0; i < 4; ++i) out[i] *= correction[i / 2];
    }
    multiply_values(scores, values);
  }

  /// The first num_rows rows to `to`; `staging` is shared memory for kRows rows, of this warp alone.
  __device__ void store(uint32_t staging, T* to, int64_t stride, int num_rows) const {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float total = softmax_.total(half);
#pragma unroll
      for (int n = 0; n < kHeadDim / 8; ++n) {
        store_shared(staging + Layout::offset(lane / 4 + 8 * half, n) + lane % 4 * 4,
                     pack(out_[n][2 * half] / total, out_[n][2 * half + 1] / total, T{}));
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

 private:
  /// scores += q k^T
  __device__ void multiply_keys(float (&scores)[kKeys / 8][4], uint32_t keys) const {
    const int lane = threadIdx.x % 32;
    const uint32_t from = keys + Layout::offset(lane % 8 + lane / 16 * 8, lane / 8 % 2);
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) {
#pragma unroll
      for (int n = 0; n < kKeys / 8; n += 2) {
        uint32_t key[4];  // 16 keys at 16 of head_dim
        load_matrices(key, (from ^ (k * 32)) + n * 8 * kRowBytes);
        multiply_add(scores[n], query_[k], key[0], key[1], T{});
        multiply_add(scores[n + 1], query_[k], key[2], key[3], T{});
      }
    }
  }

  /// out += p v
  __device__ void multiply_values(const float (&p)[kKeys / 8][4], uint32_t values) {
    const int lane = threadIdx.x % 32;
    const uint32_t from = values + Layout::offset(lane % 16, lane / 16);
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
      const float (&left)[4] = p[2 * k];
      const float (&right)[4] = p[2 * k + 1];
      const uint32_t rounded[4] = {pack(left[0], left[1], T{}), pack(left[2], left[3], T{}),
                                   pack(right[0], right[1], T{}), pack(right[2], right[3], T{})};
#pragma unroll
      for (int n = 0; n < kHeadDim / 8; n += 2) {
        uint32_t value[4];  // 16 keys at 16 of head_dim
        load_matrices_transposed(value, (from ^ (n * 16)) + k * 16 * kRowBytes);
        multiply_add(out_[n], rounded, value[0], value[1], T{});
        multiply_add(out_[n + 1], rounded, value[2], value[3], T{});
      }
    }
  }

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

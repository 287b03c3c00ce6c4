// Dropout of softmax, as struct Attention in kernels/ops.h numbers it: query row t, head h and the key at place j have
// number (t num_heads + h) 2^16 + j, so that four neighbouring keys of a query share a counter of Philox.
#pragma once

#include <cstdint>

#include "primitives/philox.cuh"

namespace albert_fast::cuda {

/// Counters of one query and head.
inline constexpr uint64_t kCountersOfQuery = uint64_t{1} << 14;

/// The mask of one head, from some query and some key, a multiple of 8, on.
struct AttentionDropout {
  DropoutMask mask;
  uint64_t counter;  // of that query and key
  uint64_t step;     // from a query to the next: num_heads kCountersOfQuery

  /// The same from another query and key on, which are so many further.
  __device__ AttentionDropout from(int queries, int keys) const {
    return {mask, counter + queries * step + keys / 4, step};
  }

  /// The factor of one query and key, counted from here.
  __device__ float of(int query, int key) const {
    const uint4 words = philox(mask, counter + query * step + key / 4);
    const uint32_t low = key % 2 ? words.y : words.x, high = key % 2 ? words.w : words.z;
    return mask_factor(mask, key % 4 < 2 ? low : high);
  }

  /// Factors of an accumulator of mma.m16n8k16 whose rows are queries and whose columns are keys 8 n .. 8 n + 7. Two
  /// neighbouring lanes need halves of the same two counters: each draws one and hands half of it over.
  __device__ void of_query_rows(float (&factors)[4], int n) const {
    const int lane = threadIdx.x % 32;
    const bool odd = lane % 2;
    const uint4 words = philox(mask, counter + (lane / 4 + (odd ? 8 : 0)) * step + 2 * n + lane % 4 / 2);
    const uint32_t own[2] = {odd ? words.z : words.x, odd ? words.w : words.y};
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const uint32_t given = i == 0 ? (odd ? words.x : words.z) : (odd ? words.y : words.w);
      const uint32_t got = __shfl_xor_sync(~0u, given, 1);
      factors[i] = mask_factor(mask, odd ? got : own[i]);
      factors[2 + i] = mask_factor(mask, odd ? own[i] : got);
    }
  }

  /// The same with keys as rows and queries 8 n .. 8 n + 7 as columns. A lane needs one word of each of four counters,
  /// as do the three lanes with its other words: each draws one, and the 4 x 4 words are transposed between them.
  __device__ void of_key_rows(float (&factors)[4], int n) const {
    const int lane = threadIdx.x % 32;
    const int query = 8 * n + lane % 4 * 2 + lane / 4 % 2, key_half = lane / 8 % 2;
    const uint4 words = philox(mask, counter + query * step + lane / 16 + 2 * key_half);
    uint32_t w[4] = {words.x, words.y, words.z, words.w};
    exchange(w[0], w[1], 4);
    exchange(w[2], w[3], 4);
    exchange(w[0], w[2], 8);
    exchange(w[1], w[3], 8);
#pragma unroll
    for (int i = 0; i < 4; ++i) factors[i] = mask_factor(mask, w[i]);
  }

 private:
  /// One step of the transposition: lanes without this bit give b for the other's a.
  __device__ static void exchange(uint32_t& a, uint32_t& b, int bit) {
    const bool upper = threadIdx.x & bit;
    const uint32_t got = __shfl_xor_sync(~0u, upper ? a : b, bit);
    (upper ? a : b) = got;
  }
};

}  // namespace albert_fast::cuda

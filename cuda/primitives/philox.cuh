// Dropout's numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3), as
// `Dropout` in kernels/types.h counts them. Four neighbours of a stream are the four words of one counter.
#pragma once

#include <cstdint>

#include "kernels/types.h"

namespace albert_fast::cuda {

/// A dropout as kernels take it.
struct DropoutMask {
  uint64_t seed;
  uint32_t stream;
  uint32_t threshold;  // words below it are left out: uint32(floor(p 2^32)), which fits because p < 1
  float scale;         // of what is kept: 1 / (1 - p)
};

inline DropoutMask mask_of(const Dropout& dropout) {
  return {dropout.seed, dropout.stream, static_cast<uint32_t>(dropout.p * 4294967296.0),
          static_cast<float>(1 / (1 - dropout.p))};
}

/// Numbers 4 counter .. 4 counter + 3 of the stream.
__device__ inline uint4 philox(const DropoutMask& mask, uint64_t counter) {
  constexpr int kRounds = 10;
  constexpr uint32_t kFactors[2] = {0xD2511F53, 0xCD9E8D57};
  constexpr uint32_t kKeySteps[2] = {0x9E3779B9, 0xBB67AE85};
  uint4 c = {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), mask.stream, 0};
  uint32_t key[2] = {static_cast<uint32_t>(mask.seed), static_cast<uint32_t>(mask.seed >> 32)};
#pragma unroll
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t even = static_cast<uint64_t>(kFactors[0]) * c.x, odd = static_cast<uint64_t>(kFactors[1]) * c.z;
    c = {static_cast<uint32_t>(odd >> 32) ^ c.y ^ key[0], static_cast<uint32_t>(odd),
         static_cast<uint32_t>(even >> 32) ^ c.w ^ key[1], static_cast<uint32_t>(even)};
    key[0] += kKeySteps[0];
    key[1] += kKeySteps[1];
  }
  return c;
}

/// What dropout multiplies the number of this word by.
__device__ inline float mask_factor(const DropoutMask& mask, uint32_t word) {
  return word >= mask.threshold ? mask.scale : 0.0f;
}

/// v[i] = v[i] * mask / (1 - p), where v[0] is number `first` of the stream, a multiple of 4.
template <int kCount>
__device__ void drop(float (&v)[kCount], const DropoutMask& mask, uint64_t first) {
  static_assert(kCount % 4 == 0, "whole counters");
#pragma unroll
  for (int i = 0; i < kCount; i += 4) {
    const uint4 words = philox(mask, first / 4 + i / 4);
    v[i] *= mask_factor(mask, words.x);
    v[i + 1] *= mask_factor(mask, words.y);
    v[i + 2] *= mask_factor(mask, words.z);
    v[i + 3] *= mask_factor(mask, words.w);
  }
}

}  // namespace albert_fast::cuda

// Dropout's numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3), as
// `Dropout` in kernels/types.h counts them.
//
// A vector of words is kPhiloxWords / 4 counters side by side, four words each, so that what comes out lies in the
// order of the numbers. A round takes (c0, c1, c2, c3) to (hi(M1 c2) ^ c1 ^ k0, lo(M1 c2), hi(M0 c0) ^ c3 ^ k1, lo(M0
// c0)): one multiplication of the even words, which leaves (lo, hi, lo, hi), the reversal of each four of them, and the
// odd words moved down to their even neighbours.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "cpu/primitives/simd.h"
#include "kernels/types.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

inline constexpr int kPhiloxWords = ALBERT_FAST_VECTOR_BYTES / 4;

typedef uint32_t wvec __attribute__((vector_size(ALBERT_FAST_VECTOR_BYTES)));
typedef uint64_t pairvec __attribute__((vector_size(ALBERT_FAST_VECTOR_BYTES)));  // two words a lane, the first is low

/// The products of the low words of each pair.
inline pairvec multiply_low(pairvec a, pairvec b) {
#if defined(__AVX512F__) && ALBERT_FAST_VECTOR_BYTES == 64
  // All lanes, masked with zeros: GCC 12 takes the undefined operand of the form without a mask for a mistake.
  return reinterpret_cast<pairvec>(
      _mm512_maskz_mul_epu32(0xff, reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__) && ALBERT_FAST_VECTOR_BYTES == 32
  return reinterpret_cast<pairvec>(_mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#elif defined(__SSE2__) && ALBERT_FAST_VECTOR_BYTES == 16
  return reinterpret_cast<pairvec>(_mm_mul_epu32(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
#elif defined(__ARM_NEON) && ALBERT_FAST_VECTOR_BYTES == 16
  return reinterpret_cast<pairvec>(
      vmull_u32(vmovn_u64(reinterpret_cast<uint64x2_t>(a)), vmovn_u64(reinterpret_cast<uint64x2_t>(b))));
#else
  return (a & 0xffffffff) * (b & 0xffffffff);
#endif
}

/// (a, b) in every four words, as the low words of their pairs.
inline pairvec repeat(uint64_t a, uint64_t b) {
  pairvec v;
  for (int i = 0; i < kPhiloxWords / 2; i += 2) v[i] = a, v[i + 1] = b;
  return v;
}

/// Every four words from the last to the first.
inline wvec reverse_fours(wvec v) {
  wvec order;
  for (int i = 0; i < kPhiloxWords; ++i) order[i] = uint32_t(i ^ 3);
  return __builtin_shuffle(v, order);
}

/// Words 4 counter .. 4 counter + kPhiloxWords of the stream.
inline wvec philox_words(const Dropout& dropout, uint64_t counter) {
  constexpr int kRounds = 10;
  const pairvec factors = repeat(0xD2511F53, 0xCD9E8D57);
  const wvec key_step = reinterpret_cast<wvec>(repeat(0x9E3779B9, 0xBB67AE85));
  wvec key = reinterpret_cast<wvec>(repeat(uint32_t(dropout.seed), dropout.seed >> 32));
  pairvec state = repeat(counter, dropout.stream);
  for (int i = 2; i < kPhiloxWords / 2; i += 2) state[i] += uint64_t(i / 2);
  for (int round = 0; round < kRounds; ++round, key += key_step) {
    const wvec product = reverse_fours(reinterpret_cast<wvec>(multiply_low(state, factors)));
    state = reinterpret_cast<pairvec>(product ^ key) ^ (state >> 32);
  }
  return reinterpret_cast<wvec>(state);
}

/// Words 4 counter .. 4 counter + 2 kPhiloxWords. Not inlined, so that the rare case fills no loop.
inline __attribute__((noinline)) void store_philox_words(Dropout dropout, uint64_t counter, uint32_t* words) {
  for (int half = 0; half < 2; ++half) {
    const wvec next = philox_words(dropout, counter + uint64_t(half * (kPhiloxWords / 4)));
    __builtin_memcpy(words + half * kPhiloxWords, &next, sizeof(next));
  }
}

/// What dropout multiplies numbers first .. first + kLanes of its stream by: 0 or 1 / (1 - p). `first` may be any; in
/// float, a multiple of 4 is fast.
inline vec dropout_mask(const Dropout& dropout, uint64_t first) {
  const uint32_t threshold = uint32_t(dropout.p * 4294967296.0);  // floor(p 2^32)
  const vec scale = broadcast(real(1 / (1 - dropout.p)));
  if (kLanes == kPhiloxWords && first % 4 == 0) {
    const wvec kept = reinterpret_cast<wvec>(philox_words(dropout, first / 4) >= threshold);
    return reinterpret_cast<vec>(kept & reinterpret_cast<wvec>(scale));
  }
  uint32_t words[2 * kPhiloxWords];
  store_philox_words(dropout, first / 4, words);
  vec mask;
  for (int i = 0; i < kLanes; ++i) mask[i] = words[first % 4 + uint64_t(i)] >= threshold ? scale[i] : 0;
  return mask;
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

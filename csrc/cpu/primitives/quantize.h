// Floats as integers of few bits. Every kQuantGroup numbers along k, of a row of x or of W, share a scale:
// x = scale * q. A row's integers depend on the row alone, and an outlier spoils the resolution of its own group only.
//
// Int16 and Int8 say, each for its number of bits, how many q a 32-bit word holds, how x and W become words, and how
// words are multiplied.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "cpu/primitives/block.h"
#include "cpu/primitives/simd.h"
#include "kernels/ops.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

typedef int32_t ivec __attribute__((vector_size(ALBERT_FAST_VECTOR_BYTES)));
typedef int32_t unaligned_ivec __attribute__((vector_size(ALBERT_FAST_VECTOR_BYTES), aligned(4), may_alias));

inline ivec load_words(const int32_t* p) { return *reinterpret_cast<const unaligned_ivec*>(p); }
inline ivec broadcast_word(int32_t word) { return word - ivec{}; }

/// Below this a group is zeros: levels / length has to stay finite.
inline constexpr float kSmallestLength = 1e-30f;

/// One group as integers, zeros behind its end.
struct Levels {
  float scale;
  int32_t second;  // of Int8, the second word of its header
  alignas(64) int32_t q[kQuantGroup];
};

static_assert(kQuantGroup % kLanes == 0);

/// The interval from the smallest to the largest x and 0, or NaN where x has an infinity or NaN: the whole group
/// becomes NaN, not some number.
struct Span {
  float low, high;

  /// The largest |x|.
  float magnitude() const { return -low > high ? -low : high; }
};

inline Span span(const float* x, int64_t depth) {
  vec low = {}, high = {}, bad = {};
  for (int64_t k = 0; k < depth; k += kLanes) {
    const vec v = depth - k >= kLanes ? load(x + k) : load_partial(x + k, depth - k);
    bad += v - v;
    low = max(low, -v);
    high = max(high, v);
  }
  return {-max(low), max(high) + sum(bad)};
}

/// The nearest integers, of |v| < 2^22.
inline ivec nearest(vec v) {
  const vec magic = broadcast(12582912.0f);  // 1.5 * 2^23: adding it leaves the integer in the low bits of the mantissa
  return reinterpret_cast<ivec>(v + magic) - reinterpret_cast<ivec>(magic);
}

/// q = x / scale, rounded, where `levels` scales are as long as `length`.
inline void to_levels(const float* x, int64_t depth, float length, int levels, Levels& group) {
  const bool zeros = length < kSmallestLength;
  group.scale = zeros ? 0 : length / levels;
  const float inverse = zeros ? 0 : levels / length;
  for (int64_t k = 0; k < kQuantGroup; k += kLanes) {
    const vec v = depth - k >= kLanes ? load(x + k) : load_partial(x + k, depth - k);
    const ivec q = nearest(v * broadcast(inverse));
    __builtin_memcpy(group.q + k, &q, sizeof(q));
  }
}

/// Pairs of 12 bits and a sign, multiplied and added by one instruction.
struct Int16 {
  static constexpr int kPerWord = 2;
  static constexpr int kHeader = 1;  // words before a group's numbers: the scale

  /// 4095 * 4095 * 128 = 2,146,435,200 is below 2^31, so the sum of a group cannot overflow.
  static constexpr int kLevels = 4095;
  static_assert(int64_t{kLevels} * kLevels * kQuantGroup < (int64_t{1} << 31));

  static void quantize_x(const float* x, int64_t depth, Levels& group) {
    to_levels(x, depth, span(x, depth).magnitude(), kLevels, group);
  }
  static void quantize_w(const float* w, int64_t depth, Levels& group) { quantize_x(w, depth, group); }

  static int32_t word(const int32_t* q) { return static_cast<int32_t>(uint32_t(q[1]) << 16 | (q[0] & 0xffff)); }
  static int32_t level(int32_t word, int64_t i) { return i == 0 ? word << 16 >> 16 : word >> 16; }

  /// Lane by lane, sum + the 2 products.
  static ivec add_dot(ivec sum, ivec x, ivec w) {
#if defined(__AVX512VNNI__)
    return reinterpret_cast<ivec>(_mm512_dpwssd_epi32(reinterpret_cast<__m512i>(sum), reinterpret_cast<__m512i>(x),
                                                      reinterpret_cast<__m512i>(w)));
#elif defined(__AVX512BW__) && ALBERT_FAST_VECTOR_BYTES == 64
    return sum + reinterpret_cast<ivec>(_mm512_madd_epi16(reinterpret_cast<__m512i>(x), reinterpret_cast<__m512i>(w)));
#elif defined(__AVX2__) && ALBERT_FAST_VECTOR_BYTES == 32
    return sum + reinterpret_cast<ivec>(_mm256_madd_epi16(reinterpret_cast<__m256i>(x), reinterpret_cast<__m256i>(w)));
#elif defined(__SSE2__) && ALBERT_FAST_VECTOR_BYTES == 16
    return sum + reinterpret_cast<ivec>(_mm_madd_epi16(reinterpret_cast<__m128i>(x), reinterpret_cast<__m128i>(w)));
#else
    return sum + ((x << 16) >> 16) * ((w << 16) >> 16) + (x >> 16) * (w >> 16);
#endif
  }
};

/// Fours of 8 bits: x unsigned, 0 at `zero` of each group, so that a group which is mostly positive, as after a GELU,
/// wastes no levels; W signed. AVX2's instruction adds neighbouring products in 16 bits, where they saturate.
/// Neighbours in W of unlike signs cannot both push a sum the same way, so those of like sign alone share kPairLevels.
/// VNNI's adds all four in 32 bits, but takes the same words: a packed weight and its results are the same on every
/// machine.
struct Int8 {
  static constexpr int kPerWord = 4;
  static constexpr int kHeader = 2;  // the scale and, of x, its zero; of W, -sum q, which zero times is added

  static constexpr int kLevels = 127;
  /// How the 15 bits of a sum of two products are shared between W and x: for the least error of the product of random
  /// normal numbers.
  static constexpr int kPairLevels = 149, kXLevels = 217;
  /// Sums of two rounded numbers are by one more than they were, at most.
  static_assert((kXLevels + 1) * (kPairLevels + 1) <= INT16_MAX, "neighbouring products cannot saturate");

  static void quantize_x(const float* x, int64_t depth, Levels& group) {
    const Span of_x = span(x, depth);
    to_levels(x, depth, of_x.high - of_x.low, kXLevels, group);
    int32_t least = 0;
    for (int64_t k = 0; k < kQuantGroup; ++k) least = group.q[k] < least ? group.q[k] : least;
    group.second = -least & 0xff;  // any number will do where the scale is NaN
    for (int64_t k = 0; k < kQuantGroup; ++k) group.q[k] += group.second;
  }
  static void quantize_w(const float* w, int64_t depth, Levels& group) {
    float pair = 0;  // |w0 + w1| at its largest: of unlike signs it is below |w0| or |w1|
    for (int64_t k = 0; k + 1 < depth; k += 2) {
      const float size = __builtin_fabsf(w[k] + w[k + 1]);
      pair = size > pair ? size : pair;
    }
    constexpr float kShare = float(kLevels) / kPairLevels;
    const float single = span(w, depth).magnitude(), shared = pair * kShare;
    to_levels(w, depth, shared > single ? shared : single, kLevels, group);
    group.second = 0;
    for (int64_t k = 0; k < depth; ++k) group.second -= group.q[k];
  }

  static int32_t word(const int32_t* q) {
    return static_cast<int32_t>(uint32_t(q[3]) << 24 | (q[2] & 0xff) << 16 | (q[1] & 0xff) << 8 | (q[0] & 0xff));
  }
  static int32_t level(int32_t word, int64_t i) { return word << (24 - 8 * i) >> 24; }

  /// Lane by lane, zero * -sum q: both have 16 bits, and zero no upper half. Whatever stands behind the last column of
  /// W, it cannot overflow.
  static ivec first_sum(ivec zero, ivec minus_sum) { return Int16::add_dot(ivec{}, zero, minus_sum); }
  static_assert(kLevels * kQuantGroup <= INT16_MAX);

  /// Lane by lane, sum + the 4 products of unsigned x and signed w.
  static ivec add_dot(ivec sum, ivec x, ivec w) {
#if defined(__AVX512VNNI__)
    return reinterpret_cast<ivec>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sum), reinterpret_cast<__m512i>(x),
                                                      reinterpret_cast<__m512i>(w)));
#elif defined(__AVX512BW__) && ALBERT_FAST_VECTOR_BYTES == 64
    const __m512i pairs = _mm512_maddubs_epi16(reinterpret_cast<__m512i>(x), reinterpret_cast<__m512i>(w));
    return sum + reinterpret_cast<ivec>(_mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
#elif defined(__AVX2__) && ALBERT_FAST_VECTOR_BYTES == 32
    const __m256i pairs = _mm256_maddubs_epi16(reinterpret_cast<__m256i>(x), reinterpret_cast<__m256i>(w));
    return sum + reinterpret_cast<ivec>(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
#else
    return sum + (x & 255) * (w << 24 >> 24) + (x >> 8 & 255) * (w << 16 >> 24) + (x >> 16 & 255) * (w << 8 >> 24) +
           (x >> 24 & 255) * (w >> 24);
#endif
  }
};

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

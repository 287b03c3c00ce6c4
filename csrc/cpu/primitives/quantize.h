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

/// Below this a group is zeros: levels / maximum has to stay finite.
inline constexpr float kSmallestMaximum = 1e-30f;

/// One group as integers, zeros behind its end.
struct Levels {
  float scale;
  alignas(64) int32_t q[kQuantGroup];
};

static_assert(kQuantGroup % kLanes == 0);

/// |x| at its largest, and NaN where x has an infinity or NaN: the whole group becomes NaN, not some number.
inline float largest(const float* x, int64_t depth) {
  vec maximum = {}, bad = {};
  for (int64_t k = 0; k < depth; k += kLanes) {
    const vec v = depth - k >= kLanes ? load(x + k) : load_partial(x + k, depth - k);
    bad += v - v;
    maximum = max(maximum, max(v, -v));
  }
  return max(maximum) + sum(bad);
}

/// q = x * levels / maximum, rounded to the nearest integer.
inline void to_levels(const float* x, int64_t depth, float maximum, int levels, Levels& group) {
  const bool zeros = maximum < kSmallestMaximum;
  group.scale = zeros ? 0 : maximum / levels;
  const vec inverse = broadcast(zeros ? 0 : levels / maximum);
  const vec magic = broadcast(12582912.0f);  // 1.5 * 2^23: adding it leaves the integer in the low bits of the mantissa
  for (int64_t k = 0; k < kQuantGroup; k += kLanes) {
    const vec v = depth - k >= kLanes ? load(x + k) : load_partial(x + k, depth - k);
    const ivec q = reinterpret_cast<ivec>(v * inverse + magic) - reinterpret_cast<ivec>(magic);
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
    to_levels(x, depth, largest(x, depth), kLevels, group);
  }
  static void quantize_w(const float* w, int64_t depth, Levels& group) { quantize_x(w, depth, group); }

  static int32_t x_word(const int32_t* q) { return static_cast<int32_t>(uint32_t(q[1]) << 16 | (q[0] & 0xffff)); }
  static int32_t w_word(const int32_t* q) { return x_word(q); }
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

/// Fours of 8 bits. AVX2's instruction multiplies unsigned x by signed w and adds neighbouring products in 16 bits,
/// where they saturate; so x is q + 128, and w is scaled by sums of neighbours instead of single numbers. VNNI's adds
/// all four in 32 bits, but takes the same words: a packed weight and its results are the same on every machine.
struct Int8 {
  static constexpr int kPerWord = 4;
  static constexpr int kHeader = 2;  // the scale and, of W, -128 sum q: what the sum of a group starts from

  static constexpr int kLevels = 127, kZero = 128;
  /// |w0| + |w1| <= 127 steps before they are rounded, by half a step each; so 128 after it.
  static_assert((kLevels + kZero) * (kLevels + 1) <= INT16_MAX, "neighbouring products cannot saturate");

  static void quantize_x(const float* x, int64_t depth, Levels& group) {
    to_levels(x, depth, largest(x, depth), kLevels, group);
  }
  static void quantize_w(const float* w, int64_t depth, Levels& group) {
    float maximum = 0;
    for (int64_t k = 0; k < depth; k += 2) {
      const float pair = __builtin_fabsf(w[k]) + (k + 1 < depth ? __builtin_fabsf(w[k + 1]) : 0);
      maximum = pair > maximum ? pair : maximum;
    }
    to_levels(w, depth, maximum, kLevels, group);
  }

  static int32_t w_word(const int32_t* q) {
    return static_cast<int32_t>(uint32_t(q[3]) << 24 | (q[2] & 0xff) << 16 | (q[1] & 0xff) << 8 | (q[0] & 0xff));
  }
  static int32_t x_word(const int32_t* q) { return w_word(q) ^ static_cast<int32_t>(0x80808080); }  // q + 128
  static int32_t level(int32_t word, int64_t i) { return word << (24 - 8 * i) >> 24; }

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

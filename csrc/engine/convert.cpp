#include "engine/convert.h"

#include <cmath>
#include <cstring>

namespace albert_fast {
namespace {

uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

float float_of(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

/// bits / 2^shift to nearest, ties to even
uint32_t shift_rounded(uint32_t bits, int shift) {
  const uint32_t half = (uint32_t{1} << (shift - 1)) - 1, odd = (bits >> shift) & 1;
  return (bits + half + odd) >> shift;
}

/// bfloat16 is the upper half of a float.
uint16_t to_bfloat16(float x) {
  if (std::isnan(x)) return 0x7fc0;
  return static_cast<uint16_t>(shift_rounded(bits_of(x), 16));
}

float from_bfloat16(uint16_t x) { return float_of(uint32_t{x} << 16); }

/// float16 has 5 bits of exponent, biased by 15, and 10 of significand (IEEE 754-2019, table 3.5).
uint16_t to_float16(float x) {
  const uint16_t sign = static_cast<uint16_t>(bits_of(x) >> 16 & 0x8000);
  const float magnitude = std::fabs(x);
  if (std::isnan(x)) return 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00;  // halfway from the largest, 65504, to what would come next
  if (magnitude < 0x1p-14f) {                    // subnormal: a multiple of 2^-24; the sum rounds to that
    return sign | static_cast<uint16_t>(bits_of(magnitude + 0.5f) - bits_of(0.5f));
  }
  return sign | static_cast<uint16_t>(shift_rounded(bits_of(magnitude), 13) - ((127 - 15) << 10));
}

float from_float16(uint16_t x) {
  const uint32_t sign = uint32_t{x & 0x8000u} << 16, rest = x & 0x7fffu;
  if (rest >= 0x7c00) return float_of(sign | 0x7f800000 | (rest & 0x3ff) << 13);
  if (rest < 0x400) return float_of(sign | bits_of(static_cast<float>(rest) * 0x1p-24f));
  return float_of(sign | (rest + ((127 - 15) << 10)) << 13);
}

bool is_finite(uint16_t bits, uint16_t exponent) { return (bits & exponent) != exponent; }

template <typename T>
bool all_finite(const T* values, int64_t count) {
  T zero = 0;  // x * 0 is 0 for a finite x and NaN otherwise, and NaN stays
  for (int64_t i = 0; i < count; ++i) zero += values[i] * T{0};
  return zero == 0;
}

template <typename F>
bool round_all(const void* from, int64_t count, void* to, uint16_t exponent, F round) {
  bool finite = true;
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t bits = static_cast<uint16_t*>(to)[i] = round(static_cast<const float*>(from)[i]);
    finite &= is_finite(bits, exponent);
  }
  return finite;
}

template <typename F>
void widen_all(const void* from, int64_t count, void* to, F widen) {
  for (int64_t i = 0; i < count; ++i) static_cast<float*>(to)[i] = widen(static_cast<const uint16_t*>(from)[i]);
}

}  // namespace

bool to_stored(DType stored, const void* from, int64_t count, void* to) {
  if (stored == DType::kBFloat16) return round_all(from, count, to, 0x7f80, to_bfloat16);
  if (stored == DType::kFloat16) return round_all(from, count, to, 0x7c00, to_float16);
  if (count > 0) std::memcpy(to, from, count * size_of(stored));
  return stored == DType::kFloat64 ? all_finite(static_cast<const double*>(from), count)
                                   : all_finite(static_cast<const float*>(from), count);
}

void from_stored(DType stored, const void* from, int64_t count, void* to) {
  if (stored == DType::kBFloat16) return widen_all(from, count, to, from_bfloat16);
  if (stored == DType::kFloat16) return widen_all(from, count, to, from_float16);
  if (count > 0) std::memcpy(to, from, count * size_of(stored));
}

}  // namespace albert_fast

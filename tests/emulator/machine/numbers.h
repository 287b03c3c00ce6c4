// The number formats of PTX in plain C++: conversions, roundings, and the rules for NaN.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace emulator {

enum class Rounding : uint8_t { kNearest, kZero, kDown, kUp };

constexpr uint32_t kCanonicalNan = 0x7fffffff;
inline bool is_nan_bits(uint32_t f) { return (f & 0x7fffffff) > 0x7f800000; }

inline float bf16_to_float(uint16_t b) { return std::bit_cast<float>(uint32_t{b} << 16); }

/// A multiplication by 2^112 puts the exponent right, for subnormal numbers too. No branch, so that it vectorises.
inline float half_to_float(uint16_t h) {
  const uint32_t magnitude = uint32_t{h & 0x7fffu} << 13;
  const float scaled = std::bit_cast<float>(magnitude) * 0x1p112f;
  const uint32_t special = magnitude >= 0x0f800000 ? 0x7f800000u : 0u;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(scaled) | special | uint32_t{h & 0x8000u} << 16);
}

/// Drops the low `drop` bits of a magnitude, rounding as asked.
inline uint64_t round_bits(uint64_t magnitude, int drop, Rounding r, bool negative) {
  if (drop <= 0) return magnitude << -drop;
  if (drop > 62) drop = 62;
  const uint64_t kept = magnitude >> drop, rest = magnitude & ((uint64_t{1} << drop) - 1);
  const uint64_t half = uint64_t{1} << (drop - 1);
  bool up = false;
  if (r == Rounding::kNearest) up = rest > half || (rest == half && (kept & 1));
  if (r == Rounding::kUp) up = rest && !negative;
  if (r == Rounding::kDown) up = rest && negative;
  return kept + up;
}

/// double -> a float format of `exponent` and `mantissa` bits (without the hidden one), rounded once.
template <int kExponent, int kMantissa>
inline uint32_t narrow(double value, Rounding r) {
  constexpr int kBias = (1 << (kExponent - 1)) - 1;
  constexpr uint32_t kInfinity = ((1u << kExponent) - 1) << kMantissa;
  const uint64_t bits = std::bit_cast<uint64_t>(value);
  const bool negative = bits >> 63;
  const uint32_t sign = negative ? 1u << (kExponent + kMantissa) : 0;
  const int exponent = static_cast<int>(bits >> 52 & 0x7ff) - 1023;
  const uint64_t fraction = bits & ((uint64_t{1} << 52) - 1);
  if (exponent == 1024) return fraction ? (1u << (kExponent + kMantissa)) - 1 : sign | kInfinity;  // NaN is canonical
  if (exponent == -1023 && fraction == 0) return sign;
  const uint64_t significand = exponent == -1023 ? fraction : fraction | uint64_t{1} << 52;
  const int extra = exponent < 1 - kBias ? 1 - kBias - exponent : 0;  // subnormal in the narrow format
  uint64_t rounded = round_bits(significand, 52 - kMantissa + extra, r, negative);
  if (!extra) rounded += static_cast<uint64_t>(exponent + kBias - 1) << kMantissa;
  if (rounded >= kInfinity) {
    const bool to_infinity =
        r == Rounding::kNearest || (r == Rounding::kUp && !negative) || (r == Rounding::kDown && negative);
    return sign | (to_infinity ? kInfinity : kInfinity - 1);
  }
  return sign | static_cast<uint32_t>(rounded);
}

inline uint16_t to_half(double value, Rounding r = Rounding::kNearest) { return narrow<5, 10>(value, r); }
inline uint16_t to_bf16(double value, Rounding r = Rounding::kNearest) { return narrow<8, 7>(value, r); }
inline float to_float(double value, Rounding r) { return std::bit_cast<float>(narrow<8, 23>(value, r)); }

/// tf32 keeps ten bits of mantissa, in the place where a float has them; ties go away from zero.
inline uint32_t to_tf32(uint32_t f) {
  if ((f & 0x7f800000) == 0x7f800000) return is_nan_bits(f) ? kCanonicalNan : f;
  return (f + 0x1000) & ~0x1fffu;
}

/// x + y or x * y + z with one rounding in the direction asked: the double result and its exact error say which way.
inline float directed(double sum, double error, Rounding r) {
  if (!(std::abs(sum) <= std::numeric_limits<double>::max())) return static_cast<float>(sum);
  float f = static_cast<float>(sum);
  const bool above = f > sum || (f == sum && error < 0), below = f < sum || (f == sum && error > 0);
  const bool down = r == Rounding::kDown || (r == Rounding::kZero && (sum > 0 || (sum == 0 && error > 0)));
  if (down && above) f = std::nextafter(f, -std::numeric_limits<float>::infinity());
  if (!down && below) f = std::nextafter(f, std::numeric_limits<float>::infinity());
  return f;
}

inline float directed_fma(float a, float b, float c, Rounding r) {
  const double product = double{a} * b, sum = product + c;  // the product is exact
  const double part = sum - product, error = (product - (sum - part)) + (c - part);
  return directed(sum, error, r);
}

inline float flush(float x) { return std::abs(x) < std::numeric_limits<float>::min() ? std::copysign(0.f, x) : x; }

/// PTX: the one that is a number; canonical NaN if neither is, or, with .NaN, if one is not. -0 lies below +0.
template <bool kMax, bool kNan, class T>
inline T extremum(T a, T b) {
  if (a != a || b != b) {
    const T nan =
        sizeof(T) == 4 ? static_cast<T>(std::bit_cast<float>(kCanonicalNan)) : std::numeric_limits<T>::quiet_NaN();
    if (kNan || (a != a && b != b)) return nan;
    return a != a ? b : a;
  }
  if (a == b) return (std::signbit(a) != 0) == kMax ? b : a;
  return (a > b) == kMax ? a : b;
}

inline float saturate(float x) { return x > 0.f ? (x < 1.f ? x : 1.f) : 0.f; }  // NaN becomes 0

}  // namespace emulator

// exp, tanh and the two GELUs on vectors, and their derivatives. Polynomials: scripts/fit_polynomials.py.
#pragma once

#include "cpu/primitives/simd.h"
#include "kernels/types.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

/// Calls the C library lane by lane: the float64 variant is for checking, not for speed.
template <typename F>
inline vec each_lane(vec x, F f) {
  for (int i = 0; i < kLanes; ++i) x[i] = f(x[i]);
  return x;
}

/// exp(x), relative error below 2 roundoffs; 0 below -87.3, clamped at 88.3 (no overflow); NaN stays NaN.
inline vec exp(vec x) {
  if constexpr (sizeof(real) == sizeof(double)) {
    return each_lane(x, [](real v) { return real(__builtin_exp(v)); });
  } else {
    typedef int32_t ivec __attribute__((vector_size(ALBERT_FAST_VECTOR_BYTES)));
    constexpr float kLowest = -87.3f, kHighest = 88.3f;  // exp stays a normal number between the two
    const ivec underflow = x < broadcast(kLowest);
    x = x > broadcast(kHighest) ? broadcast(kHighest) : x;
    x = x < broadcast(kLowest) ? broadcast(kLowest) : x;

    // x = n ln2 + r: adding 1.5 * 2^23 leaves n, rounded, in the low bits of the mantissa.
    const vec magic = broadcast(12582912.0f);
    const vec shifted = x * broadcast(1.44269504f) + magic;
    const vec n = shifted - magic;
    vec r = x - n * broadcast(0.693359375f);  // ln2 in two parts: the first has 9 bits, so n times it is exact
    r = r - n * broadcast(-2.12194440e-4f);

    vec p = broadcast(0.00139012735f);
    p = p * r + broadcast(0.00836314075f);
    p = p * r + broadcast(0.0416668542f);
    p = p * r + broadcast(0.166665778f);
    p = p * r + broadcast(0.5f);
    p = p * (r * r) + r;
    p = p + broadcast(1.0f);

    ivec bits = reinterpret_cast<ivec>(p) + (reinterpret_cast<ivec>(shifted) << 23);  // times 2^n
    bits = underflow ? ivec{} : bits;
    const vec result = reinterpret_cast<vec>(bits);
    return x == x ? result : x;
  }
}

/// An activation and its derivative.
struct ValueAndSlope {
  vec value, slope;
};

/// value: 0.5 x (1 + tanh(u)) with u = sqrt(2/pi) (x + 0.044715 x^3), written as x s with s = 1 / (1 + e), e =
/// exp(-2u): one exp, and no cancellation where tanh(u) is near -1. Relative error below 3 roundoffs for x >= 0 and
/// below 4 (1 + |2u|) for x < 0, where exp magnifies the rounding of u; results below 1e-36 may be off by 1e-36. slope:
/// s (1 + x (1 - s) 2u') with 1 - s = e s, which does not cancel. Error below 6 (1 + |2u|) roundoffs of the same sum of
/// magnitudes, it crosses zero at x = -0.75; results below 1e-35 may be off by 1e-35.
inline ValueAndSlope differentiate_gelu_tanh(vec x) {
  // Below this, value and slope are 0 to within 1e-36 and 1e-35, and above its opposite they are x and 1: s and e stay
  // normal numbers.
  const vec limit = broadcast(sizeof(real) == sizeof(double) ? real(21) : real(9.98));
  const vec scale = broadcast(real(1.5957691216057308)), cubic = broadcast(real(0.044715));
  x = x < -limit ? -limit : x;
  const vec e = exp(-(scale * x * (broadcast(1) + cubic * x * x)));
  const vec s = broadcast(1) / (broadcast(1) + e);
  const vec z = x > limit ? limit : x;
  const vec u2_slope = scale * (broadcast(1) + broadcast(3) * cubic * z * z);
  return {x / (broadcast(1) + e), s * (broadcast(1) + z * (e * s) * u2_slope)};
}

inline vec gelu_tanh(vec x) { return differentiate_gelu_tanh(x).value; }

/// value: x Phi(x) with Phi(x) = erfc(-x / sqrt 2) / 2. Relative error below 8 roundoffs for x >= 0 and below
/// 8 (1 + x^2 / 2) for x < 0, where exp magnifies the rounding of x^2; results below 1e-36 may be off by 1e-36.
/// slope: Phi(x) + x phi(x), whose phi(x) = exp(-x^2 / 2) / sqrt(2 pi) is a factor of Phi, too. Error below
/// 8 (1 + x^2 / 2) roundoffs of Phi(x) + |x| phi(x).
inline ValueAndSlope differentiate_gelu_erf(vec x) {
  const vec magnitude = x < vec{} ? -x : x;
  const vec limit = broadcast(sizeof(real) == sizeof(double) ? real(40) : real(14.2));  // exp(-x^2 / 2) underflows
  const vec bounded = magnitude > limit ? limit : magnitude;
  const vec slope_at = x < vec{} ? -bounded : bounded;
  const vec inverse_sqrt_2pi = broadcast(real(0.39894228040143267794));
  if constexpr (sizeof(real) == sizeof(double)) {
    const vec phi = inverse_sqrt_2pi * exp(broadcast(-0.5) * bounded * bounded);
    const vec half_erfc = each_lane(x, [](real v) { return real(0.5 * __builtin_erfc(-v * 0.70710678118654752440)); });
    return {x * half_erfc, half_erfc + slope_at * phi};
  } else {
    const vec z = bounded * broadcast(0.707106781f);
    const vec t = broadcast(1) / (broadcast(1) + broadcast(0.5f) * z);
    vec q = broadcast(-0.0590695553f);
    q = q * t + broadcast(0.284577787f);
    q = q * t + broadcast(-0.487205505f);
    q = q * t + broadcast(0.278073311f);
    q = q * t + broadcast(-0.0266296975f);
    q = q * t + broadcast(0.20268847f);
    q = q * t + broadcast(0.243103385f);
    q = q * t + broadcast(0.282375365f);
    q = q * t + broadcast(0.282086402f);
    const vec e = exp(-z * z);
    const vec half_erfc = broadcast(0.5f) * t * q * e;
    const vec phi_of_x = x < vec{} ? half_erfc : broadcast(1) - half_erfc;
    return {x * phi_of_x, phi_of_x + slope_at * (inverse_sqrt_2pi * e)};
  }
}

inline vec gelu_erf(vec x) { return differentiate_gelu_erf(x).value; }

/// tanh lane by lane: only the pooler needs it, one row per sequence.
inline vec tanh(vec x) {
  return each_lane(x, [](real v) { return real(__builtin_tanh(v)); });
}

template <Activation kActivation>
inline vec activate(vec x) {
  if constexpr (kActivation == Activation::kGeluTanh) return gelu_tanh(x);
  if constexpr (kActivation == Activation::kGeluErf) return gelu_erf(x);
  if constexpr (kActivation == Activation::kTanh) return tanh(x);
  return x;
}

/// tanh'(x) = 1 - tanh(x)^2, written as 4 e / (1 + e)^2 with e = exp(-2 |x|), which does not cancel where tanh is near
/// 1. Relative error of the slope below 6 roundoffs; results below 1e-36 may be off by 1e-36.
inline ValueAndSlope differentiate_tanh(vec x) {
  const vec e = exp(broadcast(-2) * (x < vec{} ? -x : x));
  const vec s = broadcast(1) / (broadcast(1) + e);
  return {tanh(x), broadcast(4) * e * s * s};
}

template <Activation kActivation>
inline ValueAndSlope differentiate(vec x) {
  if constexpr (kActivation == Activation::kGeluTanh) return differentiate_gelu_tanh(x);
  if constexpr (kActivation == Activation::kGeluErf) return differentiate_gelu_erf(x);
  if constexpr (kActivation == Activation::kTanh) return differentiate_tanh(x);
  return {x, broadcast(1)};
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

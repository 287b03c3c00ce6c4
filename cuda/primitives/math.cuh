// The activations, and their derivatives.
#pragma once

#include "kernels/types.h"

namespace albert_fast::cuda {

/// 0.5 x (1 + tanh(u)) with u = sqrt(2/pi) (x + 0.044715 x^3), written as x / (1 + exp(-2u)): one exp, and no
/// cancellation where tanh(u) is near -1.
__device__ inline float gelu_tanh(float x) {
  const float twice_u = 1.5957691216057308f * x * (1.0f + 0.044715f * x * x);
  return x / (1.0f + expf(-twice_u));
}

/// x Phi(x) with Phi(x) = (1 + erf(x / sqrt 2)) / 2.
__device__ inline float gelu_erf(float x) { return 0.5f * x * (1.0f + erff(0.70710678118654752f * x)); }

/// The derivative of gelu_tanh, and y = gelu_tanh(x) in the same bits. With s = 1 / (1 + e) and e = exp(-2u) it is
/// s + x s (1 - s) 2u', where s (1 - s) = e s s does not cancel.
__device__ inline float gelu_tanh_grad(float x, float& y) {
  const float twice_u = 1.5957691216057308f * x * (1.0f + 0.044715f * x * x);
  const float e = expf(-twice_u);
  y = x / (1.0f + e);
  // Infinities would meet zeros: e s s is 1e-37, and |x| is 30, where the derivative is 0 or 1 to within 1e-33.
  const float bounded = e > 1e37f ? 1e37f : e;
  const float z = x < -30.0f ? -30.0f : x > 30.0f ? 30.0f : x;
  const float s = 1.0f / (1.0f + bounded);
  const float slope = 1.5957691216057308f * (1.0f + 3.0f * 0.044715f * z * z);
  return s + z * slope * (bounded * s * s);
}

/// The derivative of gelu_erf, Phi(x) + x phi(x), and y = gelu_erf(x).
__device__ inline float gelu_erf_grad(float x, float& y) {
  y = gelu_erf(x);
  const float density = 0.39894228040143268f * expf(-0.5f * x * x);
  return 0.5f * (1.0f + erff(0.70710678118654752f * x)) + x * density;
}

/// v[i] = activation(v[i])
template <int kCount>
__device__ void activate(float (&v)[kCount], Activation activation) {
  switch (activation) {
    case Activation::kNone:
      break;
    case Activation::kGeluTanh:
#pragma unroll
      for (float& x : v) x = gelu_tanh(x);
      break;
    case Activation::kGeluErf:
#pragma unroll
      for (float& x : v) x = gelu_erf(x);
      break;
    case Activation::kTanh:
#pragma unroll
      for (float& x : v) x = tanhf(x);
      break;
  }
}

/// v[i] = activation(v[i]), and dy[i] becomes dy[i] activation'(v[i]).
template <int kCount>
__device__ void activate_with_grad(float (&v)[kCount], float (&dy)[kCount], Activation activation) {
  switch (activation) {
    case Activation::kNone:
      break;
    case Activation::kGeluTanh:
#pragma unroll
      for (int i = 0; i < kCount; ++i) dy[i] *= gelu_tanh_grad(v[i], v[i]);
      break;
    case Activation::kGeluErf:
#pragma unroll
      for (int i = 0; i < kCount; ++i) dy[i] *= gelu_erf_grad(v[i], v[i]);
      break;
    case Activation::kTanh:
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        v[i] = tanhf(v[i]);
        dy[i] *= 1.0f - v[i] * v[i];
      }
      break;
  }
}

}  // namespace albert_fast::cuda

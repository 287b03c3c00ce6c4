// What `linear` applies to its sums.
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

}  // namespace albert_fast::cuda

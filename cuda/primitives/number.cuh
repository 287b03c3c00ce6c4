// Numbers as they are stored (float, __half, __nv_bfloat16) and as they are computed with (float).
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace albert_fast::cuda {

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(__half x) { return __half2float(x); }
__device__ inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }

/// Rounded to nearest, ties to even.
template <typename T>
__device__ T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) {
  return x;
}
template <>
__device__ inline __half from_float<__half>(float x) {
  return __float2half_rn(x);
}
template <>
__device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

/// kCount neighbours moved as one vector where they fill 4, 8 or 16 bytes; aligned to kCount elements or 16 bytes.
template <typename T, int kCount>
struct alignas(sizeof(T) * kCount < 16 ? sizeof(T) * kCount : 16) Vector {
  T values[kCount];
};

/// v[i] = p[i]
template <int kCount, typename T>
__device__ void load_floats(const T* p, float (&v)[kCount]) {
  const auto vector = *reinterpret_cast<const Vector<T, kCount>*>(p);
#pragma unroll
  for (int i = 0; i < kCount; ++i) v[i] = to_float(vector.values[i]);
}

/// p[i] = v[i], rounded
template <int kCount, typename T>
__device__ void store_floats(T* p, const float (&v)[kCount]) {
  Vector<T, kCount> vector;
#pragma unroll
  for (int i = 0; i < kCount; ++i) vector.values[i] = from_float<T>(v[i]);
  *reinterpret_cast<Vector<T, kCount>*>(p) = vector;
}

}  // namespace albert_fast::cuda

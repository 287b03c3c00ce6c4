// Matrices whose numbers know nothing of each other: each thread takes vectors of neighbours.
//
//   [rows, cols]:  | thread 0 | thread 1 | ... | next block: thread 0 | ...     kVector numbers each, so that the
//                                                                               accesses of a warp are side by side
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "primitives/number.cuh"
#include "primitives/ptx.cuh"

namespace albert_fast::cuda {

/// Small blocks of threads that share nothing: as many as fit on a multiprocessor hide the way to memory.
inline constexpr int kElementwiseThreads = 256;

/// Calls f(row, column) for this thread's vectors, which begin there.
template <int kVector, typename F>
__device__ void walk_vectors(int64_t rows, int64_t cols, F f) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kElementwiseThreads * kVector;
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * kElementwiseThreads + threadIdx.x) * kVector;
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
    for (int64_t column = first; column < cols; column += step) f(row, column);
  }
}

/// p[i] = v[i], rounded, in one access: after branches, as an activation has them, nvcc splits a plain store.
template <int kCount, typename T>
__device__ void store_vector(T* p, const float (&v)[kCount]) {
  using Bits = std::conditional_t<sizeof(T) * kCount == 16, uint4, uint2>;
  static_assert(sizeof(Bits) == sizeof(T) * kCount, "8 or 16 bytes");
  Vector<T, kCount> vector;
#pragma unroll
  for (int i = 0; i < kCount; ++i) vector.values[i] = from_float<T>(v[i]);
  Bits bits;
  memcpy(&bits, &vector, sizeof(bits));
  store_global(static_cast<void*>(p), bits);
}

}  // namespace albert_fast::cuda

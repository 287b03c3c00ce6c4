// From sums in shared memory to y: y = activation(sum + bias) + residual.
//
//     sums [kRows][kStride]        a thread has 4 neighbouring columns, and every kRowsAtOnce-th row:
//     | 0 0 0 0 1 1 1 1 ...        whole rows of the tile go out in one piece, and the bias is read once
//     | ...
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/types.h"
#include "primitives/math.cuh"
#include "primitives/number.cuh"
#include "primitives/ptx.cuh"

namespace albert_fast::cuda {

/// What becomes of the sums of y [num_tokens, num_rows].
template <typename T>
struct Epilogue {
  const T* bias;  // [num_rows] or null
  Activation activation;
  const T* residual;  // [num_tokens, num_rows] or null
  int64_t residual_stride;
  void* y;  // of T, or float
  int64_t y_stride;
  DType y_dtype;
  int64_t num_tokens;
  int num_rows;
  bool vectors;  // groups of 4 columns are aligned to their size in all of them
};

/// v[i] = p[i] for i < count, else 0; one access if `count` is all of them and `vectors`.
template <int kCount, typename T>
__device__ void load_some(const T* p, float (&v)[kCount], int count, bool vectors) {
  if (count == kCount && vectors) return load_floats(p, v);
#pragma unroll
  for (int i = 0; i < kCount; ++i) v[i] = i < count ? to_float(p[i]) : 0.0f;
}

/// p[i] = v[i] for i < count, the same way.
template <int kCount, typename T>
__device__ void store_some(T* p, const float (&v)[kCount], int count, bool vectors) {
  if (count == kCount && vectors) {
    Vector<T, kCount> rounded;
#pragma unroll
    for (int i = 0; i < kCount; ++i) rounded.values[i] = from_float<T>(v[i]);
    std::conditional_t<sizeof(rounded) == 8, uint2, uint4> bits;
    static_assert(sizeof(bits) == sizeof(rounded));
    memcpy(&bits, &rounded, sizeof(bits));
    return store_global(p, bits);  // what nvcc makes of a plain store here is a store for each element
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    if (i < count) p[i] = from_float<T>(v[i]);
  }
}

/// One thread's part in finishing kRows x kCols sums.
template <typename T, int kRows, int kCols, int kThreads>
class SlabEpilogue {
  static constexpr int kWidth = 4;  // columns of a thread: 16 bytes of sums
  static constexpr int kRowsAtOnce = kThreads / (kCols / kWidth);
  static constexpr int kRowsEach = kRows / kRowsAtOnce;
  static constexpr int kBatch = kRowsEach < 4 ? kRowsEach : 4;  // rows whose residuals are on their way together
  static_assert(kThreads % (kCols / kWidth) == 0 && kRows % kRowsAtOnce == 0 && kRowsEach % kBatch == 0);
  static_assert(kCols % 32 == 0, "eight threads read 128 bytes of one row: no bank conflicts");

 public:
  /// Floats between rows of sums. Rows are 8 banks apart, so that accumulators, four lanes to 8 columns of a row, can
  /// be written without bank conflicts too.
  static constexpr int kStride = kCols + 8;

  __device__ SlabEpilogue(const Epilogue<T>& to, int64_t first_row) : to_(to) {
    const int column = threadIdx.x % (kCols / kWidth) * kWidth;
    const int64_t left = to.num_rows - first_row - column;
    column_ = column;
    y_column_ = first_row + column;
    count_ = static_cast<int>(left < 0 ? 0 : left < kWidth ? left : kWidth);
    load_some(to.bias + y_column_, bias_, to.bias ? count_ : 0, to.vectors);
  }

  /// Finishes row r of `sums` as row token_of(r) of y, for all r.
  template <typename TokenOf>
  __device__ void finish(uint32_t sums, TokenOf token_of) const {
    if (count_ == 0) return;
#pragma unroll 1
    for (int first = threadIdx.x / (kCols / kWidth); first < kRows; first += kBatch * kRowsAtOnce) {
      float residual[kBatch][kWidth];
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const int64_t token = token_of(first + i * kRowsAtOnce);
        const int count = to_.residual && token < to_.num_tokens ? count_ : 0;
        load_some(to_.residual + token * to_.residual_stride + y_column_, residual[i], count, to_.vectors);
      }
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const int row = first + i * kRowsAtOnce;
        const int64_t token = token_of(row);
        if (token < to_.num_tokens) finish_row(sums + (row * kStride + column_) * sizeof(float), residual[i], token);
      }
    }
  }

 private:
  __device__ void finish_row(uint32_t sums, const float (&residual)[kWidth], int64_t token) const {
    const float4 sum = load_shared(sums);
    float v[kWidth] = {sum.x + bias_[0], sum.y + bias_[1], sum.z + bias_[2], sum.w + bias_[3]};
    activate(v, to_.activation);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) v[i] += residual[i];
    const int64_t place = token * to_.y_stride + y_column_;
    if (to_.y_dtype == DType::kFloat32) {
      store_some(static_cast<float*>(to_.y) + place, v, count_, to_.vectors);
    } else {
      store_some(static_cast<T*>(to_.y) + place, v, count_, to_.vectors);
    }
  }

  const Epilogue<T>& to_;
  int column_;        // the first of its four, in the slab
  int64_t y_column_;  // and in y
  int count_;         // of them that y has
  float bias_[kWidth];
};

}  // namespace albert_fast::cuda

// The softmax of rows that arrive in blocks of columns, in the registers of one warp (Milakov & Gimelshein 2018,
// algorithm 3), in powers of two: exp(s scale) = 2^(s scale log2 e).
#pragma once

#include <cmath>

#include "primitives/ptx.cuh"

namespace albert_fast::cuda {

/// Sixteen rows of scores as accumulators of mma.m16n8k16: lane i has rows i / 4 (half 0: [0], [1] of an accumulator)
/// and i / 4 + 8 (half 1: [2], [3]), and the four lanes of one i / 4 have all columns of these rows between them.
class OnlineSoftmax {
 public:
  /// `exponent_scale` = scale log2 e, positive.
  __device__ explicit OnlineSoftmax(float exponent_scale) : exponent_scale_(exponent_scale) {}

  /// Scores become p, relative to the greatest score so far, and count in the sums; what was computed from earlier p of
  /// half h has to be multiplied by correction[h]. At least one score of the first block is above -infinity.
  template <int kN>
  __device__ void update(float (&scores)[kN][4], float (&correction)[2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float top = -INFINITY;
#pragma unroll
      for (int n = 0; n < kN; ++n) top = fmaxf(top, fmaxf(scores[n][2 * half], scores[n][2 * half + 1]));
      const float maximum = fmaxf(maximum_[half], exponent_scale_ * maximum_of_quad(top));
      correction[half] = exp2_approximate(maximum_[half] - maximum);  // 0 at the first block
      maximum_[half] = maximum;

      float sum = 0;
#pragma unroll
      for (int n = 0; n < kN; ++n) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          scores[n][i] = exp2_approximate(fmaf(scores[n][i], exponent_scale_, -maximum));
          sum += scores[n][i];
        }
      }
      sum_[half] = sum_[half] * correction[half] + sum;
    }
  }

  /// The sum of all p of the row of this half.
  __device__ float total(int half) const {
    float sum = sum_[half];
    sum += __shfl_xor_sync(~0u, sum, 1);
    return sum + __shfl_xor_sync(~0u, sum, 2);
  }

  /// log(sum of exp(scale s)) of the row of this half, of which this is the total.
  __device__ float log_sum(int half, float total) const {
    return (maximum_[half] + log2f(total)) * 0.69314718055994531f;
  }

 private:
  __device__ static float maximum_of_quad(float x) {
    x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
    return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
  }

  float exponent_scale_;
  float maximum_[2] = {-INFINITY, -INFINITY};  // times exponent_scale
  float sum_[2] = {};                          // of this lane's columns
};

}  // namespace albert_fast::cuda

// LayerNorm of one row, shared by layer_norm and embed.
#pragma once

#include "cpu/primitives/simd.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

/// Sum of f(x[j]) over the row. Four accumulators, so that additions overlap and chains stay a quarter as long.
template <typename F>
inline real reduce_row(const real* x, int64_t n, F f) {
  vec sums[4] = {};
  int64_t j = 0;
  for (; j + 4 * kLanes <= n; j += 4 * kLanes) {
    for (int u = 0; u < 4; ++u) sums[u] += f(load(x + j + u * kLanes));
  }
  for (; j + kLanes <= n; j += kLanes) sums[0] += f(load(x + j));
  real tail = 0;
  for (; j < n; ++j) tail += f(broadcast(x[j]))[0];
  return sum((sums[0] + sums[1]) + (sums[2] + sums[3])) + tail;
}

/// y = (x - mean) / sqrt(var + eps) * gamma + beta over n numbers; y may be x. The variance is summed from differences
/// to the mean, which does not cancel, and the mean is corrected by the mean of those differences, which is what its
/// own rounding left over.
inline void normalize_row(const real* x, const real* gamma, const real* beta, real eps, int64_t n, real* y) {
  const vec rough = broadcast(reduce_row(x, n, [](vec v) { return v; }) / real(n));
  const real mean = rough[0] + reduce_row(x, n, [rough](vec v) { return v - rough; }) / real(n);
  const vec center = broadcast(mean);
  const real variance = reduce_row(x, n, [center](vec v) { return (v - center) * (v - center); }) / real(n);
  const real scale = 1 / real(__builtin_sqrt(double(variance) + double(eps)));
  int64_t j = 0;
  for (; j + kLanes <= n; j += kLanes) {
    store(y + j, (load(x + j) - center) * broadcast(scale) * load(gamma + j) + load(beta + j));
  }
  for (; j < n; ++j) y[j] = (x[j] - mean) * scale * gamma[j] + beta[j];
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

// LayerNorm of one row and its gradient, shared by layer_norm and embed.
#pragma once

#include "cpu/primitives/rows.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

/// x^ = (x - mean) * scale
struct Moments {
  real mean;
  real scale;  // 1 / sqrt(var + eps)
};

/// The variance is summed from differences to the mean, which does not cancel, and the mean is corrected by the mean of
/// those differences, which is what its own rounding left over.
inline Moments moments_of(const real* x, real eps, int64_t n) {
  const vec rough = broadcast(reduce_row(n, [](vec v) { return v; }, x) / real(n));
  const real mean = rough[0] + reduce_row(n, [rough](vec v) { return v - rough; }, x) / real(n);
  const vec center = broadcast(mean);
  const real variance = reduce_row(n, [center](vec v) { return (v - center) * (v - center); }, x) / real(n);
  return {mean, 1 / real(__builtin_sqrt(double(variance) + double(eps)))};
}

/// y = (x - mean) / sqrt(var + eps) * gamma + beta over n numbers; y may be x.
inline void normalize_row(const real* x, const real* gamma, const real* beta, real eps, int64_t n, real* y) {
  const Moments moments = moments_of(x, eps, n);
  const vec center = broadcast(moments.mean), scale = broadcast(moments.scale);
  each_vector(n, [&](int64_t j, auto access) {
    const vec v = access.load(x + j);
    access.store(y + j, (v - center) * scale * access.load(gamma + j) + access.load(beta + j));
  });
}

/// dx, which may be x or dy, of that row; what the row adds to the gradients of gamma and beta is added to dgamma and
/// dbeta.
inline void differentiate_normalized_row(const real* x, const real* gamma, real eps, const real* dy, int64_t n,
                                         real* dx, real* dgamma, real* dbeta) {
  const Moments moments = moments_of(x, eps, n);
  const vec center = broadcast(moments.mean), scale = broadcast(moments.scale);
  const vec mean_g = broadcast(reduce_row(n, [](vec d, vec weight) { return d * weight; }, dy, gamma) / real(n));
  const auto product = [&](vec d, vec weight, vec v) { return d * weight * ((v - center) * scale); };
  const vec mean_gx = broadcast(reduce_row(n, product, dy, gamma, x) / real(n));
  each_vector(n, [&](int64_t j, auto access) {
    const vec d = access.load(dy + j), normalized = (access.load(x + j) - center) * scale;
    access.store(dgamma + j, access.load(dgamma + j) + d * normalized);
    access.store(dbeta + j, access.load(dbeta + j) + d);
    access.store(dx + j, (d * access.load(gamma + j) - mean_g - normalized * mean_gx) * scale);
  });
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

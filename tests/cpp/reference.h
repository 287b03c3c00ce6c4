// The ops as straightforward loops. With R = float or double they are what a kernel's error is compared with; with
// the next wider type they are the truth.
#pragma once

#include <cmath>
#include <vector>

#include "support.h"

namespace albert_fast::testing {

template <typename R>
R activate(Activation activation, R x) {
  const R sqrt_2_over_pi = R(0.797884560802865355879892119868763737L);
  const R sqrt_half = R(0.707106781186547524400844362104849039L);
  switch (activation) {
    case Activation::kGeluTanh:
      return R(0.5) * x * (1 + std::tanh(sqrt_2_over_pi * (x + R(0.044715L) * x * x * x)));
    case Activation::kGeluErf:
      return R(0.5) * x * (1 + std::erf(x * sqrt_half));
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kNone:
      return x;
  }
  return x;
}

/// [T, N]; bias and residual may be null.
template <typename R, typename T>
std::vector<R> linear(const Tensor<T>& x, const Tensor<T>& weight, const Tensor<T>* bias, Activation activation,
                      const Tensor<T>* residual) {
  std::vector<R> y;
  y.reserve(x.rows() * weight.rows());
  for (int64_t t = 0; t < x.rows(); ++t) {
    for (int64_t n = 0; n < weight.rows(); ++n) {
      R sum = 0;
      for (int64_t k = 0; k < x.cols(); ++k) sum += R(x.at(t, k)) * R(weight.at(n, k));
      if (bias != nullptr) sum += R(bias->at(0, n));
      sum = activate(activation, sum);
      if (residual != nullptr) sum += R(residual->at(t, n));
      y.push_back(sum);
    }
  }
  return y;
}

/// One row in place.
template <typename R, typename T>
void normalize_row(R* row, const Tensor<T>& gamma, const Tensor<T>& beta, double eps) {
  const int64_t n = gamma.cols();
  R mean = 0, variance = 0;
  for (int64_t j = 0; j < n; ++j) mean += row[j];
  mean /= R(n);
  for (int64_t j = 0; j < n; ++j) variance += (row[j] - mean) * (row[j] - mean);
  variance /= R(n);
  const R scale = 1 / std::sqrt(variance + R(eps));
  for (int64_t j = 0; j < n; ++j) row[j] = (row[j] - mean) * scale * R(gamma.at(0, j)) + R(beta.at(0, j));
}

template <typename R, typename T>
std::vector<R> layer_norm(const Tensor<T>& x, const Tensor<T>& gamma, const Tensor<T>& beta, double eps) {
  std::vector<R> y;
  for (int64_t t = 0; t < x.rows(); ++t) {
    for (int64_t j = 0; j < x.cols(); ++j) y.push_back(x.at(t, j));
    normalize_row(y.data() + t * x.cols(), gamma, beta, eps);
  }
  return y;
}

/// [T, H] of qkv [T, 3 H].
template <typename R, typename T>
std::vector<R> attention(const Tensor<T>& qkv, const std::vector<int32_t>& cu_seqlens, int64_t heads, int64_t d) {
  const int64_t h = heads * d;
  std::vector<R> out(qkv.rows() * h, R(0)), p;
  for (size_t b = 0; b + 1 < cu_seqlens.size(); ++b) {
    const int64_t begin = cu_seqlens[b], end = cu_seqlens[b + 1];
    for (int64_t column = 0; column < h; column += d) {
      for (int64_t i = begin; i < end; ++i) {
        p.assign(end - begin, R(0));
        R top = -std::numeric_limits<R>::infinity(), total = 0;
        for (int64_t j = begin; j < end; ++j) {
          R& score = p[j - begin];
          for (int64_t k = column; k < column + d; ++k) score += R(qkv.at(i, k)) * R(qkv.at(j, h + k));
          score /= std::sqrt(R(d));
          top = std::max(top, score);
        }
        for (R& score : p) total += score = std::exp(score - top);
        for (int64_t j = begin; j < end; ++j) {
          for (int64_t k = column; k < column + d; ++k) out[i * h + k] += p[j - begin] * R(qkv.at(j, 2 * h + k));
        }
        for (int64_t k = column; k < column + d; ++k) out[i * h + k] /= total;
      }
    }
  }
  return out;
}

}  // namespace albert_fast::testing

// What every test of an op needs: the backends, poisoned and guarded memory, random data, derived bounds.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "cpu/runtime/executor.h"
#include "cpu/table.h"
#include "kernels/ops.h"

namespace albert_fast::testing {

using Rng = std::mt19937_64;

/// The type a result of type T is checked in.
template <typename T>
using Exact = std::conditional_t<std::is_same_v<T, float>, double, long double>;

template <typename T>
inline constexpr DType kDType = std::is_same_v<T, float> ? DType::kFloat32 : DType::kFloat64;

/// The worst relative error of rounding to T.
template <typename T>
inline constexpr double kRoundoff = std::numeric_limits<T>::epsilon() / 2;

/// The worst of so many seeds counts. Fewer for double: its reference is in long double, which ARM does in software.
template <typename T>
inline constexpr int kSeeds = std::is_same_v<T, float> ? 5 : 2;

/// Every table of this machine for numbers of type T.
template <typename T>
std::vector<const Ops*> backends() {
  std::vector<const Ops*> all;
  if constexpr (std::is_same_v<T, double>) {
    all.push_back(&cpu::find_ops("", DType::kFloat64));
  } else {
    for (const std::string& isa : cpu::available_isas()) all.push_back(&cpu::find_ops(isa, DType::kFloat32));
  }
  return all;
}

/// A stream of so many threads that is never interrupted.
class Threads {
 public:
  explicit Threads(int count) : executor_(count, {}) {}
  operator Stream() { return {&executor_}; }

 private:
  cpu::Executor executor_;
};

/// NaN with bits that no arithmetic produces.
template <typename T>
T poison() {
  if constexpr (std::is_same_v<T, float>) return std::bit_cast<float>(0x7fc0dead);
  if constexpr (std::is_same_v<T, double>) return std::bit_cast<double>(0x7ff80000deadbeef);
}

template <typename T>
bool is_poison(T x) {
  const T p = poison<T>();
  return std::memcmp(&x, &p, sizeof(T)) == 0;
}

/// n elements of poison between guards of poison; on purpose no more aligned than one element.
template <typename T>
class Guarded {
 public:
  explicit Guarded(size_t n) : all_(n + 2 * kGuard, poison<T>()) {}

  T* data() { return all_.data() + kGuard; }
  const T* data() const { return all_.data() + kGuard; }
  size_t size() const { return all_.size() - 2 * kGuard; }

  bool guards_intact() const {
    const auto intact = [](T x) { return is_poison(x); };
    return std::all_of(all_.begin(), all_.begin() + kGuard, intact) &&
           std::all_of(all_.end() - kGuard, all_.end(), intact);
  }

 private:
  static constexpr size_t kGuard = 37;
  std::vector<T> all_;
};

/// A matrix [rows, cols] with `gap` elements of poison behind every row.
template <typename T>
class Tensor {
 public:
  Tensor(int64_t rows, int64_t cols, int64_t gap = 0)
      : rows_(rows), cols_(cols), stride_(cols + gap), memory_(rows * (cols + gap)) {}

  /// Normal numbers: mean + deviation * N(0, 1).
  Tensor& fill(Rng& rng, double deviation = 1, double mean = 0) {
    std::normal_distribution<double> normal(mean, deviation);
    for (int64_t i = 0; i < rows_; ++i) {
      for (int64_t j = 0; j < cols_; ++j) at(i, j) = T(normal(rng));
    }
    return *this;
  }

  T& at(int64_t i, int64_t j) { return memory_.data()[i * stride_ + j]; }
  const T& at(int64_t i, int64_t j) const { return memory_.data()[i * stride_ + j]; }
  T* data() { return memory_.data(); }
  const T* data() const { return memory_.data(); }
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }

  Matrix view() { return {memory_.data(), rows_, cols_, stride_}; }
  ConstMatrix view() const { return {memory_.data(), rows_, cols_, stride_}; }
  /// Rows [first, first + count).
  Matrix view(int64_t first, int64_t count) { return {memory_.data() + first * stride_, count, cols_, stride_}; }
  ConstMatrix view(int64_t first, int64_t count) const {
    return {memory_.data() + first * stride_, count, cols_, stride_};
  }

  /// Whether nothing was written beside the elements.
  bool surroundings_intact() const {
    if (!memory_.guards_intact()) return false;
    for (int64_t i = 0; i < rows_; ++i) {
      for (int64_t j = cols_; j < stride_; ++j) {
        if (!is_poison(memory_.data()[i * stride_ + j])) return false;
      }
    }
    return true;
  }

 private:
  int64_t rows_, cols_, stride_;
  Guarded<T> memory_;
};

/// Same shape and, bit for bit, the same elements.
template <typename T>
bool identical(const Tensor<T>& a, const Tensor<T>& b) {
  if (a.rows() != b.rows() || a.cols() != b.cols()) return false;
  for (int64_t i = 0; i < a.rows(); ++i) {
    if (std::memcmp(&a.at(i, 0), &b.at(i, 0), a.cols() * sizeof(T)) != 0) return false;
  }
  return true;
}

/// |actual - exact|_2 / |exact|_2; infinite if anything is NaN.
template <typename T, typename E>
double rel_l2(const Tensor<T>& actual, const std::vector<E>& exact) {
  long double difference = 0, norm = 0;
  size_t n = 0;
  for (int64_t i = 0; i < actual.rows(); ++i) {
    for (int64_t j = 0; j < actual.cols(); ++j, ++n) {
      const long double d = static_cast<long double>(actual.at(i, j)) - exact[n];
      difference += d * d;
      norm += static_cast<long double>(exact[n]) * exact[n];
    }
  }
  if (difference == 0) return 0;
  const double error = static_cast<double>(std::sqrt(difference / norm));
  return std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
}

/// Straightforward loops return plain vectors; as a tensor [rows, cols].
template <typename T>
Tensor<T> as_tensor(const std::vector<T>& values, int64_t rows, int64_t cols) {
  Tensor<T> tensor(rows, cols);
  std::copy(values.begin(), values.end(), tensor.data());
  return tensor;
}

/// Collects errors over seeds; a kernel may err twice as much as the straightforward loop of its own type, whose error
/// counts as no less than one roundoff.
template <typename T>
class ErrorBound {
 public:
  void add(double ours, double straightforward) {
    ours_ = std::max(ours_, ours);
    straightforward_ = std::max(straightforward_, straightforward);
  }
  void check() const {
    const double bound = 2 * std::max(straightforward_, kRoundoff<T>);
    CHECK_MESSAGE(ours_ <= bound, "error " << ours_ << ", straightforward " << straightforward_);
  }

 private:
  double ours_ = 0;
  double straightforward_ = 0;
};

}  // namespace albert_fast::testing

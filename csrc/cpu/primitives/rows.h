// Loops over the numbers of a row, and down columns.
#pragma once

#include "cpu/primitives/block.h"
#include "cpu/primitives/simd.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

/// How the body of each_vector gets at a whole vector ...
struct WholeVector {
  vec load(const real* p) const { return ALBERT_FAST_VARIANT::load(p); }
  void store(real* p, vec v) const { ALBERT_FAST_VARIANT::store(p, v); }
};

/// ... and at the last numbers of a row, fewer than kLanes.
struct PartVector {
  int64_t n;
  vec load(const real* p) const { return load_partial(p, n); }
  void store(real* p, vec v) const { store_partial(p, v, n); }
};

/// body(j, access) for each vector of n numbers; `access` loads and stores those of the row from j on.
template <typename Body>
inline void each_vector(int64_t n, const Body& body) {
  int64_t j = 0;
  for (; j + kLanes <= n; j += kLanes) body(j, WholeVector{});
  if (j < n) body(j, PartVector{n - j});
}

/// Sum of f(x[j] ...) over rows of n numbers. Four accumulators, so that additions overlap and chains stay a quarter as
/// long.
template <typename F, typename... X>
inline real reduce_row(int64_t n, const F& f, const X*... x) {
  vec sums[4] = {};
  int64_t j = 0;
  for (; j + 4 * kLanes <= n; j += 4 * kLanes) {
    for (int u = 0; u < 4; ++u) sums[u] += f(load(x + j + u * kLanes)...);
  }
  for (; j + kLanes <= n; j += kLanes) sums[0] += f(load(x + j)...);
  real tail = 0;
  for (; j < n; ++j) tail += f(broadcast(x[j])...)[0];
  return sum((sums[0] + sums[1]) + (sums[2] + sums[3])) + tail;
}

/// Rows summed in one chain; the sums of such blocks are then added, which keeps the error of 512 rows that of 32 + 16.
inline constexpr int64_t kSumRows = 32;

/// totals[i] = the sum of row(begin)[j + i kLanes] .. row(end - 1)[j + i kLanes], in that order.
template <int kVectors, typename Row, typename Access>
inline void sum_strip(int64_t begin, int64_t end, const Row& row, int64_t j, Access access, vec* totals) {
  for (int64_t block = begin; block < end; block += kSumRows) {
    vec sums[kVectors] = {};
    for (int64_t t = block; t < min(end, block + kSumRows); ++t) {
      const real* x = row(t) + j;
      for (int i = 0; i < kVectors; ++i) sums[i] += access.load(x + i * kLanes);
    }
    for (int i = 0; i < kVectors; ++i) totals[i] += sums[i];
  }
}

/// finish(j, access, total) for each vector of n columns, `total` being the sum of those of rows begin .. end - 1;
/// row(t) points at the first of row t. Four vectors at a time, so that additions overlap and whole lines are read.
template <typename Row, typename Finish>
inline void sum_columns(int64_t begin, int64_t end, int64_t n, const Row& row, const Finish& finish) {
  int64_t j = 0;
  for (; j + 4 * kLanes <= n; j += 4 * kLanes) {
    vec totals[4] = {};
    sum_strip<4>(begin, end, row, j, WholeVector{}, totals);
    for (int i = 0; i < 4; ++i) finish(j + i * kLanes, WholeVector{}, totals[i]);
  }
  each_vector(n - j, [&](int64_t rest, auto access) {
    vec total = {};
    sum_strip<1>(begin, end, row, j + rest, access, &total);
    finish(j + rest, access, total);
  });
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

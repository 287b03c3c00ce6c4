// One attention over a ragged batch.
#pragma once

#include <vector>

#include "support.h"

namespace albert_fast::testing {

/// [0, l0, l0 + l1, ...]
inline std::vector<int32_t> offsets(const std::vector<int32_t>& lengths) {
  std::vector<int32_t> cu_seqlens{0};
  for (const int32_t length : lengths) cu_seqlens.push_back(cu_seqlens.back() + length);
  return cu_seqlens;
}

/// Random queries, keys and values side by side. Queries and keys are wide, so that softmax has peaks and tails.
template <typename T>
Tensor<T> random_qkv(Rng& rng, int64_t rows, int64_t hidden, int64_t gap) {
  Tensor<T> qkv = Tensor<T>(rows, 3 * hidden, gap).fill(rng);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < 2 * hidden; ++j) qkv.at(i, j) *= 2;
  }
  return qkv;
}

/// Sequences of these lengths from the first row of qkv on; scratch is as large as the op asks, poisoned and guarded.
template <typename T>
void run_attention(const Ops& ops, ConstMatrix qkv, const std::vector<int32_t>& lengths, int64_t heads,
                   int64_t head_dim, Matrix out, int num_threads) {
  Threads threads(num_threads);
  const std::vector<int32_t> cu_seqlens = offsets(lengths);
  const int32_t longest = lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
  const size_t bytes = ops.attention_scratch(longest, head_dim, threads);
  Guarded<T> scratch(bytes / sizeof(T));
  ops.attention(
      {qkv, cu_seqlens.data(), int64_t(lengths.size()), longest, heads, head_dim, out, {scratch.data(), bytes}},
      threads);
  CHECK(scratch.guards_intact());
}

}  // namespace albert_fast::testing

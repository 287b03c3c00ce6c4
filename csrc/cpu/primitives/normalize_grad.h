// The gradients of LayerNorm over T rows, for layer_norm_grad and embed_grad. A task takes kSumRows rows and sums
// what they add to dgamma and dbeta in its own part of the scratch; those are then added, block after block.
//
//     scratch  [T / kSumRows][2][H]   dgamma and dbeta of each block of rows
#pragma once

#include "cpu/primitives/normalize.h"
#include "cpu/runtime/executor.h"
#include "kernels/ops.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

struct NormalizedRow {
  const real* x;
  real* dx;  // may be x, or the row of dy
};

inline size_t normalize_grad_scratch(int64_t rows, int64_t cols) {
  return size_t(ceil_div(rows, kSumRows) * 2 * cols) * sizeof(real);
}

/// columns[j] (+)= the sum over the blocks' parts[block][j], for the columns of one task.
inline void sum_parts(const real* parts, int64_t blocks, int64_t stride, int64_t cols, Into into, real* columns) {
  const auto part = [&](int64_t block) { return parts + block * stride; };
  sum_columns(0, blocks, cols, part, [&](int64_t j, auto access, vec total) {
    access.store(columns + j, into == Into::kAdd ? access.load(columns + j) + total : total);
  });
}

/// Op is LayerNormGrad or EmbedGrad; row(t) is a NormalizedRow.
template <typename Op, typename Row>
inline void differentiate_normalized(const Op& op, Executor& executor, const Row& row) {
  const int64_t rows = op.dy.rows, cols = op.dy.cols, blocks = ceil_div(rows, kSumRows);
  real* parts = static_cast<real*>(op.scratch.data);
  executor.parallel_for(blocks, [&](int64_t block, int) {
    real* dgamma = parts + block * 2 * cols;
    for (int64_t j = 0; j < 2 * cols; ++j) dgamma[j] = 0;
    const int64_t end = min(rows, (block + 1) * kSumRows);
    for (int64_t t = block * kSumRows; t < end; ++t) {
      const NormalizedRow at = row(t);
      differentiate_normalized_row(at.x, static_cast<const real*>(op.gamma), real(op.eps), op.dy.template row<real>(t),
                                   cols, at.dx, dgamma, dgamma + cols);
    }
  });

  constexpr int64_t kTaskCols = 256;  // of 128 blocks: 128 KB, far more work than handing out a task
  executor.parallel_for(ceil_div(cols, kTaskCols), [&](int64_t task, int) {
    const int64_t col = task * kTaskCols, count = min(kTaskCols, cols - col);
    sum_parts(parts + col, blocks, 2 * cols, count, op.into, static_cast<real*>(op.dgamma) + col);
    sum_parts(parts + cols + col, blocks, 2 * cols, count, op.into, static_cast<real*>(op.dbeta) + col);
  });
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

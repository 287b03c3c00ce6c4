// dweight[N, K] = dy[T, N]^T x[T, K] and dbias[n] = sum over t of dy[t][n], by the loops of primitives/product.h with
// T as the depth: tokens are summed in ascending order, in chains of kDepthBlock.
//
// Both operands are packed as they lie in memory: a tile is kTileRows columns of dy, a panel kPanel columns of x.
#include "cpu/primitives/float_product.h"
#include "cpu/primitives/product.h"
#include "cpu/runtime/executor.h"
#include "cpu/variant.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {
namespace {

struct WeightGradProduct : FloatProduct<real> {
  static constexpr int64_t kGroupPanels = kCopiedGroup;
  static constexpr int64_t kBuffers = 2;

  explicit WeightGradProduct(const LinearWeightGrad& op) : op(op) {}

  void pack_x(int64_t row, int rows, real* tile) const {
    pack_tile_transposed(op.dy.row<real>(0) + row, op.dy.stride, rows, op.dy.rows, tile);
  }
  void load(int64_t share, int64_t shares, int64_t first, int64_t last, int64_t k0, int64_t depth, real* buffer) const {
    const int64_t col0 = first * kPanel, cols = min(last * kPanel, op.x.cols) - col0;
    load_panels(share, shares, op.x.row<real>(k0) + col0, op.x.stride, cols, depth, buffer);
  }
  const real* panel(int64_t panel, int64_t first, int64_t, int64_t depth, const real* buffer) const {
    return buffer + (panel - first) * w_units(depth);
  }
  Ahead ahead(const real*, int64_t, int64_t, int64_t) const { return {}; }
  /// dweight is too large for the caches, and its rows too far apart for the hardware to foresee: its lines are asked
  /// for one tile of arithmetic before they are written.
  void expect(int64_t row, int rows, int64_t col0) const {
    for (int i = 0; i < rows; ++i) __builtin_prefetch(op.dweight.row<real>(row + i) + col0, 1, kFetchLocality);
  }
  void finish(const real* c, int64_t row, int64_t rows, int64_t col0, int64_t cols) const {
    for (int64_t i = 0; i < rows; ++i, c += kPanel) {
      real* out = op.dweight.row<real>(row + i) + col0;
      add_row(c, op.into == Into::kAdd ? out : nullptr, cols, out);
    }
  }

  const LinearWeightGrad& op;
};

/// Columns [col0, col0 + cols) of dbias, cols <= kPanel: chains of kDepthBlock rows, added in order.
void sum_columns(const LinearWeightGrad& op, int64_t col0, int64_t cols) {
  alignas(64) real total[kPanel] = {};
  for (int64_t t0 = 0; t0 < op.dy.rows; t0 += kDepthBlock) {
    alignas(64) real block[kPanel] = {};
    const int64_t end = min(op.dy.rows, t0 + kDepthBlock);
    for (int64_t t = t0; t < end; ++t) {
      const real* row = op.dy.row<real>(t) + col0;
      for (int64_t j = 0; j < cols; ++j) block[j] += row[j];
    }
    for (int64_t j = 0; j < cols; ++j) total[j] += block[j];
  }
  real* out = static_cast<real*>(op.dbias) + col0;
  add_row(total, op.into == Into::kAdd ? out : nullptr, cols, out);
}

}  // namespace

size_t linear_weight_grad_scratch(int64_t num_tokens, int64_t rows, int64_t, Stream) {
  return num_tokens == 0 ? 0 : packed_x_bytes<WeightGradProduct>(rows, num_tokens);
}

void linear_weight_grad(const LinearWeightGrad& op, Stream stream) {
  Executor& executor = *static_cast<Executor*>(stream.handle);
  const int64_t n = op.dy.cols;
  if (op.dbias != nullptr) {
    executor.parallel_for(ceil_div(n, kPanel),
                          [&](int64_t task, int) { sum_columns(op, task * kPanel, min(kPanel, n - task * kPanel)); });
  }
  if (op.dy.rows > 0) return multiply(WeightGradProduct(op), n, op.dy.rows, op.x.cols, op.scratch, executor);
  if (op.into == Into::kAdd) return;
  executor.parallel_for(n, [&](int64_t row, int) {
    for (int64_t j = 0; j < op.x.cols; ++j) op.dweight.row<real>(row)[j] = 0;
  });
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

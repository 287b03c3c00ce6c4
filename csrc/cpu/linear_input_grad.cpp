// dx[T, K] = dy[T, N] W[N, K] + residual, by the loops of primitives/product.h with N as the depth.
//
// A panel is kPanel columns of W as they lie in memory, so packing is copying: whole lines, one row after the other.
#include "cpu/primitives/float_product.h"
#include "cpu/primitives/product.h"
#include "cpu/runtime/executor.h"
#include "cpu/variant.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {
namespace {

struct InputGradProduct : FloatProduct<real> {
  static constexpr int64_t kGroupPanels = kCopiedGroup;
  static constexpr int64_t kBuffers = 2;

  explicit InputGradProduct(const LinearInputGrad& op) : op(op) {}

  void pack_x(int64_t row, int rows, real* tile) const {
    pack_tile(op.dy.row<real>(row), op.dy.stride, rows, op.dy.cols, tile);
  }
  void load(int64_t share, int64_t shares, int64_t first, int64_t last, int64_t k0, int64_t depth, real* buffer) const {
    const int64_t cols = op.weight.cols, col0 = first * kPanel;
    const real* from = static_cast<const real*>(op.weight.data) + k0 * cols + col0;
    load_panels(share, shares, from, cols, min(last * kPanel, cols) - col0, depth, buffer);
  }
  const real* panel(int64_t panel, int64_t first, int64_t, int64_t depth, const real* buffer) const {
    return buffer + (panel - first) * w_units(depth);
  }
  Ahead ahead(const real*, int64_t, int64_t, int64_t) const { return {}; }
  void expect(int64_t, int, int64_t) const {}
  void finish(const real* c, int64_t row, int64_t rows, int64_t col0, int64_t cols) const {
    for (int64_t i = 0; i < rows; ++i, c += kPanel) {
      const real* residual = op.residual.data ? op.residual.row<real>(row + i) + col0 : nullptr;
      add_row(c, residual, cols, op.dx.row<real>(row + i) + col0);
    }
  }

  const LinearInputGrad& op;
};

}  // namespace

size_t linear_input_grad_scratch(int64_t num_tokens, int64_t rows, int64_t, Stream) {
  return packed_x_bytes<InputGradProduct>(num_tokens, rows);
}

void linear_input_grad(const LinearInputGrad& op, Stream stream) {
  multiply(InputGradProduct(op), op.dy.rows, op.weight.rows, op.weight.cols, op.scratch,
           *static_cast<Executor*>(stream.handle));
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

// y[T, N] = activation(x[T, K] W[N, K]^T + bias) + residual, by the loops of primitives/product.h.
//
// Packed weights lie in exactly the order of those loops (group, k block, panel, k, column), so each thread reads them
// front to back. Plain ones are packed on the way, a group's part of one k block at a time. y is finished (bias,
// activation, residual) by the thread that adds the last block.
#include "cpu/primitives/float_product.h"
#include "cpu/primitives/math.h"
#include "cpu/primitives/product.h"
#include "cpu/runtime/executor.h"
#include "cpu/variant.h"
#ifdef ALBERT_FAST_NARROW_WEIGHTS
#include "cpu/primitives/quantized_product.h"
#endif

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {
namespace {

/// Where panel `panel` of k block [k0, k0 + depth) starts in a packed W[N, K], in units of P::W.
template <typename P>
int64_t packed_offset(int64_t num_rows, int64_t cols, int64_t panel, int64_t k0, int64_t depth) {
  const int64_t group = panel / kPackedGroup;
  const int64_t panels_in_group = min(kPackedGroup, ceil_div(num_rows, kPanel) - group * kPackedGroup);
  return group * kPackedGroup * P::w_units(cols) + panels_in_group * P::w_units(k0) +
         panel % kPackedGroup * P::w_units(depth);
}

/// y rows [row0, row0 + rows) and columns [col0, col0 + cols) from their sums `c`.
template <Activation kActivation>
void finish(const Linear& op, const real* c, int64_t row0, int64_t rows, int64_t col0, int64_t cols) {
  for (int64_t i = 0; i < rows; ++i, c += kPanel) {
    const real* bias = op.bias ? static_cast<const real*>(op.bias) + col0 : nullptr;
    const real* residual = op.residual.data ? op.residual.row<real>(row0 + i) + col0 : nullptr;
    real* y = op.y.row<real>(row0 + i) + col0;
    int64_t j = 0;
    for (; j + kLanes <= cols; j += kLanes) {
      vec v = load(c + j);
      if (bias) v += load(bias + j);
      v = activate<kActivation>(v);
      if (residual) v += load(residual + j);
      store(y + j, v);
    }
    if (j == cols) continue;
    vec v = load_partial(c + j, cols - j);
    if (bias) v += load_partial(bias + j, cols - j);
    v = activate<kActivation>(v);
    if (residual) v += load_partial(residual + j, cols - j);
    store_partial(y + j, v, cols - j);
  }
}

void finish_rows(const Linear& op, const real* c, int64_t row0, int64_t rows, int64_t col0, int64_t cols) {
  switch (op.activation) {
    case Activation::kNone:
      return finish<Activation::kNone>(op, c, row0, rows, col0, cols);
    case Activation::kGeluTanh:
      return finish<Activation::kGeluTanh>(op, c, row0, rows, col0, cols);
    case Activation::kGeluErf:
      return finish<Activation::kGeluErf>(op, c, row0, rows, col0, cols);
    case Activation::kTanh:
      return finish<Activation::kTanh>(op, c, row0, rows, col0, cols);
  }
}

/// x and y of a Product of product.h, for x and W as P, FloatProduct or QuantizedProduct, packs and multiplies them.
template <typename P>
struct LinearProduct : P {
  using typename P::X;

  explicit LinearProduct(const Linear& op) : op(op) {}

  void pack_x(int64_t row, int rows, X* tile) const {
    P::pack_x(op.x.row<real>(row), op.x.stride, rows, op.x.cols, tile);
  }
  void expect(int64_t, int, int64_t) const {}
  void finish(const real* c, int64_t row, int64_t rows, int64_t col0, int64_t cols) const {
    finish_rows(op, c, row, rows, col0, cols);
  }

  const Linear& op;
};

/// W packed: it is read in place.
template <typename P>
struct PackedProduct : LinearProduct<P> {
  using typename P::W;
  static constexpr int64_t kGroupPanels = kPackedGroup;
  static constexpr int64_t kBuffers = 0;
  using LinearProduct<P>::LinearProduct;
  using LinearProduct<P>::op;

  void load(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, W*) const {}
  const W* panel(int64_t panel, int64_t, int64_t k0, int64_t depth, const W*) const {
    return static_cast<const W*>(op.weight.data) + packed_offset<P>(op.weight.rows, op.weight.cols, panel, k0, depth);
  }
  /// The tiles that use one panel ask for the next between them.
  Ahead ahead(const W* panel, int64_t depth, int64_t share, int64_t shares) const {
    return {panel + P::w_units(depth), P::w_units(depth) * int64_t{sizeof(W)}, share, shares, P::steps(depth)};
  }
};

/// W plain: its rows are columns of panels.
struct PlainProduct : LinearProduct<FloatProduct<real>> {
  static constexpr int64_t kGroupPanels = kCopiedGroup;
  static constexpr int64_t kBuffers = 2;
  using LinearProduct::LinearProduct;

  void load(int64_t share, int64_t shares, int64_t first, int64_t last, int64_t k0, int64_t depth, real* buffer) const {
    const int64_t stride = op.weight.cols, rows = min(last * kPanel, op.weight.rows) - first * kPanel;
    const real* from = static_cast<const real*>(op.weight.data) + first * kPanel * stride + k0;
    load_panels_transposed(share, shares, from, stride, rows, depth, buffer);
  }
  const real* panel(int64_t panel, int64_t first, int64_t, int64_t depth, const real* buffer) const {
    return buffer + (panel - first) * w_units(depth);
  }
  Ahead ahead(const real*, int64_t, int64_t, int64_t) const { return {}; }
};

template <typename P>
void multiply(const Linear& op, Executor& executor) {
  multiply(PackedProduct<P>(op), op.x.rows, op.x.cols, op.weight.rows, op.scratch, executor);
}

template <typename P>
void pack(const PackWeight& op) {
  const int64_t cols = op.rows.cols;
  for (int64_t i = 0, taken; i < op.rows.rows; i += taken) {
    const int64_t row = op.first_row + i, column = row % kPanel;
    taken = min(kPanel - column, op.rows.rows - i);  // of one panel
    for (int64_t k0 = 0; k0 < cols; k0 += kDepthBlock) {
      const int64_t depth = min(kDepthBlock, cols - k0);
      auto* panel =
          static_cast<typename P::W*>(op.packed) + packed_offset<P>(op.num_rows, cols, row / kPanel, k0, depth);
      P::pack_rows(op.rows.row<typename P::Source>(i) + k0, op.rows.stride, taken, depth, column, panel);
    }
  }
}

template <typename P>
void unpack(const UnpackWeight& op) {
  const int64_t cols = op.rows.cols;
  for (int64_t i = 0; i < op.rows.rows; ++i) {
    const int64_t row = op.first_row + i;
    for (int64_t k0 = 0; k0 < cols; k0 += kDepthBlock) {
      const int64_t depth = min(kDepthBlock, cols - k0);
      const auto* panel =
          static_cast<const typename P::W*>(op.packed) + packed_offset<P>(op.num_rows, cols, row / kPanel, k0, depth);
      P::unpack_row(panel, depth, row % kPanel, op.rows.row<typename P::Source>(i) + k0);
    }
  }
}

}  // namespace

size_t linear_scratch(int64_t rows, int64_t cols, Stream) {
  const size_t bytes = packed_x_bytes<FloatProduct<real>>(rows, cols);
#ifdef ALBERT_FAST_NARROW_WEIGHTS
  // 16-bit tiles are never smaller than 8-bit ones, but a pass of those may have more rows.
  const size_t in_int16 = packed_x_bytes<QuantizedProduct<Int16>>(rows, cols);
  const size_t in_int8 = packed_x_bytes<QuantizedProduct<Int8>>(rows, cols);
  const size_t quantized = in_int16 > in_int8 ? in_int16 : in_int8;
  return bytes > quantized ? bytes : quantized;
#else
  return bytes;
#endif
}

void linear(const Linear& op, Stream stream) {
  Executor& executor = *static_cast<Executor*>(stream.handle);
  if (op.weight.form == WeightForm::kPlain) {
    return multiply(PlainProduct(op), op.x.rows, op.x.cols, op.weight.rows, op.scratch, executor);
  }
#ifdef ALBERT_FAST_NARROW_WEIGHTS
  if (op.weight.dtype == DType::kBFloat16) return multiply<FloatProduct<bfloat16>>(op, executor);
  if (op.weight.dtype == DType::kInt16) return multiply<QuantizedProduct<Int16>>(op, executor);
  if (op.weight.dtype == DType::kInt8) return multiply<QuantizedProduct<Int8>>(op, executor);
#endif
  multiply<FloatProduct<real>>(op, executor);
}

void pack_weight(const PackWeight& op, Stream) { pack<FloatProduct<real>>(op); }
void unpack_weight(const UnpackWeight& op, Stream) { unpack<FloatProduct<real>>(op); }

#ifdef ALBERT_FAST_NARROW_WEIGHTS
void pack_bfloat16_weight(const PackWeight& op, Stream) { pack<FloatProduct<bfloat16>>(op); }
void unpack_bfloat16_weight(const UnpackWeight& op, Stream) { unpack<FloatProduct<bfloat16>>(op); }
void pack_int16_weight(const PackWeight& op, Stream) { pack<QuantizedProduct<Int16>>(op); }
void unpack_int16_weight(const UnpackWeight& op, Stream) { unpack<QuantizedProduct<Int16>>(op); }
void pack_int8_weight(const PackWeight& op, Stream) { pack<QuantizedProduct<Int8>>(op); }
void unpack_int8_weight(const UnpackWeight& op, Stream) { unpack<QuantizedProduct<Int8>>(op); }
#endif

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

// y[T, N] = activation(x[T, K] W[N, K]^T + bias) + residual
//
//                        group of kGroupPanels panels of W, taken by one thread for one chunk of rows
//                        |<------------ kGroupPanels x kPanel columns ------------>|
//     k block 0          [panel 0: depth x kPanel][panel 1] ...           [panel 7]   16 KB each: L1
//     k block 1          [panel 0                ][panel 1] ...
//     x, packed into tiles of kTileRows rows; a chunk's block of k is kChunkRows x kDepthBlock floats: L2
//
// Packed weights lie in exactly the order of these loops (group, k block, panel, k, column), so each thread reads
// them front to back, once per chunk. Chunks that run at the same time share a group, so W comes from memory once
// for all the rows of a call, up to kPackedBytes of packed x.
//
// Sums over k: chains of kDepthBlock multiply-adds, added up in order of k; y is finished (bias,
// activation, residual) by the thread that adds the last block, while the tile is in L1.
#include "cpu/primitives/block.h"
#include "cpu/primitives/float_product.h"
#include "cpu/primitives/math.h"
#include "cpu/primitives/tile.h"
#include "cpu/runtime/executor.h"
#include "cpu/variant.h"
#ifdef ALBERT_FAST_NARROW_WEIGHTS
#include "cpu/primitives/quantized_product.h"
#endif

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {
namespace {

/// 8 panels, a chunk of x for one block of k and the sums are 128 + 144 + 72 KB in AVX2 floats: within 512 KB of L2.
constexpr int64_t kGroupPanels = 8;
constexpr int64_t kChunkRows = 144;
static_assert(kPackedRowMultiple % kPanel == 0);

/// Bound of the packed copy of x. Packing costs 1/N of the product, and W is read once per this much of x.
constexpr int64_t kPackedBytes = int64_t{32} << 20;

/// Below, P is what multiplies: FloatProduct or QuantizedProduct, which say how x and W are packed.
template <typename P>
constexpr int64_t kChunkTiles = kChunkRows / P::kRows;

template <typename P>
int64_t tiles_per_pass(int64_t rows, int64_t cols) {
  const int64_t chunks = kPackedBytes / (kChunkTiles<P> * P::x_units(cols) * int64_t{sizeof(typename P::X)});
  return min(ceil_div(rows, P::kRows), (chunks > 0 ? chunks : 1) * kChunkTiles<P>);
}

template <typename P>
size_t packed_x_bytes(int64_t rows, int64_t cols) {
  return tiles_per_pass<P>(rows, cols) * P::x_units(cols) * sizeof(typename P::X);
}

/// Rows cut into as few tiles as hold them, which differ by one row at most: 16 rows are 6 + 5 + 5 and not 6 + 6 + 4,
/// because a tile of few rows waits for its own accumulators.
struct Tiling {
  int64_t rows;
  int64_t tiles;

  int64_t begin(int64_t tile) const { return tile * rows / tiles; }
  int size(int64_t tile) const { return static_cast<int>(begin(tile + 1) - begin(tile)); }
};

/// Where panel `panel` of k block [k0, k0 + depth) starts in a packed W[N, K], in units of P::W.
template <typename P>
int64_t packed_offset(int64_t num_rows, int64_t cols, int64_t panel, int64_t k0, int64_t depth) {
  const int64_t group = panel / kGroupPanels;
  const int64_t panels_in_group = min(kGroupPanels, ceil_div(num_rows, kPanel) - group * kGroupPanels);
  return group * kGroupPanels * P::w_units(cols) + panels_in_group * P::w_units(k0) +
         panel % kGroupPanels * P::w_units(depth);
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

void finish(const Linear& op, const real* c, int64_t row0, int64_t rows, int64_t col0, int64_t cols) {
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

/// The panel of W for one block of k: in place if W is packed, else packed into `buffer`.
template <typename P>
const typename P::W* weight_panel(const Weight& w, int64_t panel, int64_t k0, int64_t depth, typename P::W* buffer) {
  if (w.form == WeightForm::kPacked) {
    return static_cast<const typename P::W*>(w.data) + packed_offset<P>(w.rows, w.cols, panel, k0, depth);
  }
  if constexpr (P::kTakesPlain) {
    const real* data = static_cast<const real*>(w.data) + panel * kPanel * w.cols + k0;
    pack_panel_transposed(data, w.cols, static_cast<int>(min(kPanel, w.rows - panel * kPanel)), depth, buffer);
  }
  return buffer;
}

/// Tiles [first_tile, last_tile) of the rows from row0 on, times one group of panels. `packed`: x in tiles.
/// Sums are kept apart from y until all blocks of k are in them: rows of y are a power of two apart more often than
/// not, so that the lines of one panel's columns would share a few sets of the caches and push each other out.
template <typename P>
void multiply_group(const Linear& op, const typename P::X* packed, int64_t row0, const Tiling& tiling,
                    int64_t first_tile, int64_t last_tile, int64_t group) {
  const int64_t depth_total = op.weight.cols, cols_total = op.weight.rows;
  const int64_t first_panel = group * kGroupPanels;
  const int64_t last_panel = min(first_panel + kGroupPanels, ceil_div(cols_total, kPanel));
  alignas(64) real sums[kGroupPanels * kChunkRows * kPanel];
  alignas(64) typename P::W plain_panel[kDepthBlock * kPanel];  // one panel of a plain W

  for (int64_t k0 = 0; k0 < depth_total; k0 += kDepthBlock) {
    const int64_t depth = min(kDepthBlock, depth_total - k0);
    const Into into = k0 == 0 ? Into::kOverwrite : Into::kAdd;
    for (int64_t panel = first_panel; panel < last_panel; ++panel) {
      const auto* b = weight_panel<P>(op.weight, panel, k0, depth, plain_panel);
      const int64_t col0 = panel * kPanel, cols = min(kPanel, cols_total - col0);
      for (int64_t tile = first_tile; tile < last_tile; ++tile) {
        const int64_t row = row0 + tiling.begin(tile);
        const int rows = tiling.size(tile);
        // One or two rows take W as fast as memory gives it, in order: the hardware fetches that better by itself.
        const Ahead ahead = tiling.rows <= 2 ? Ahead()
                                             : Ahead(b + P::w_units(depth), P::w_units(depth) * sizeof(*b),
                                                     tile - first_tile, last_tile - first_tile, P::steps(depth));
        const auto* a = packed + tile * P::x_units(depth_total) + P::x_units(k0);
        real* c = sums + ((panel - first_panel) * kChunkRows + tiling.begin(tile) - tiling.begin(first_tile)) * kPanel;
        P::multiply(rows, a, b, depth, c, kPanel, into, ahead);
        if (k0 + depth == depth_total) finish(op, c, row, rows, col0, cols);
      }
    }
  }
}

template <typename P>
void multiply(const Linear& op, Executor& executor) {
  const int64_t rows = op.x.rows, depth = op.x.cols;
  const int64_t groups = ceil_div(op.weight.rows, kGroupPanels * kPanel);
  const int64_t pass_rows = tiles_per_pass<P>(rows, depth) * P::kRows;
  auto* packed = static_cast<typename P::X*>(op.scratch.data);

  for (int64_t row0 = 0; row0 < rows; row0 += pass_rows) {
    const int64_t in_pass = min(pass_rows, rows - row0);
    const Tiling tiling{in_pass, ceil_div(in_pass, P::kRows)};
    executor.parallel_for(tiling.tiles, [&](int64_t tile, int) {
      P::pack_x(op.x.row<real>(row0 + tiling.begin(tile)), op.x.stride, tiling.size(tile), depth,
                packed + tile * P::x_units(depth));
    });
    const int64_t chunks = ceil_div(tiling.tiles, kChunkTiles<P>);
    executor.parallel_for(chunks * groups, [&](int64_t task, int) {
      const int64_t tile = (task % chunks) * kChunkTiles<P>;
      multiply_group<P>(op, packed, row0, tiling, tile, min(tile + kChunkTiles<P>, tiling.tiles), task / chunks);
    });
  }
}

template <typename P>
void pack(const PackWeight& op) {
  const int64_t cols = op.rows.cols;
  for (int64_t i = 0; i < op.rows.rows; ++i) {
    const int64_t row = op.first_row + i;
    for (int64_t k0 = 0; k0 < cols; k0 += kDepthBlock) {
      const int64_t depth = min(kDepthBlock, cols - k0);
      auto* panel =
          static_cast<typename P::W*>(op.packed) + packed_offset<P>(op.num_rows, cols, row / kPanel, k0, depth);
      P::pack_row(op.rows.row<typename P::Source>(i) + k0, depth, row % kPanel, panel);
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

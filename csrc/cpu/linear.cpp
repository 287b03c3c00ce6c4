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
// Sums over k: chains of kDepthBlock multiply-adds, added up in order of k in y itself; y is finished (bias,
// activation, residual) by the thread that adds the last block, while the tile is in L1.
#include "cpu/primitives/block.h"
#include "cpu/primitives/math.h"
#include "cpu/primitives/tile.h"
#include "cpu/runtime/executor.h"
#include "cpu/variant.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {
namespace {

/// 8 panels and a chunk of x for one block of k are 128 + 144 KB in AVX2 floats: within 512 KB of L2.
constexpr int64_t kGroupPanels = 8;
constexpr int64_t kChunkTiles = 144 / kTileRows;
constexpr int64_t kChunkRows = kChunkTiles * kTileRows;
static_assert(kPackedRowMultiple % kPanel == 0);

/// Bound of the packed copy of x. Packing costs 1/N of the product, and W is read once per this much of x.
constexpr int64_t kPackedBytes = int64_t{32} << 20;

int64_t rows_per_pass(int64_t rows, int64_t cols) {
  const int64_t chunks = kPackedBytes / (kChunkRows * cols * int64_t{sizeof(real)});
  return min(rows, (chunks > 0 ? chunks : 1) * kChunkRows);
}

/// Rows cut into as few tiles as hold them, which differ by one row at most: 16 rows are 6 + 5 + 5 and not 6 + 6 + 4,
/// because a tile of few rows waits for its own accumulators.
struct Tiling {
  int64_t rows;
  int64_t tiles = ceil_div(rows, kTileRows);

  int64_t begin(int64_t tile) const { return tile * rows / tiles; }
  int size(int64_t tile) const { return static_cast<int>(begin(tile + 1) - begin(tile)); }
};

/// Where panel `panel` of k block [k0, k0 + depth) starts in a packed W[N, K], in elements.
int64_t packed_offset(int64_t num_rows, int64_t cols, int64_t panel, int64_t k0, int64_t depth) {
  const int64_t group = panel / kGroupPanels;
  const int64_t panels_in_group = min(kGroupPanels, ceil_div(num_rows, kPanel) - group * kGroupPanels);
  return group * kGroupPanels * kPanel * cols + k0 * panels_in_group * kPanel + (panel % kGroupPanels) * depth * kPanel;
}

/// y rows [row0, row0 + rows) and columns [col0, col0 + cols) from their sums `c`.
template <Activation kActivation>
void finish(const Linear& op, const real* c, int64_t c_stride, int64_t row0, int64_t rows, int64_t col0, int64_t cols) {
  for (int64_t i = 0; i < rows; ++i, c += c_stride) {
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

void finish(const Linear& op, const real* c, int64_t c_stride, int64_t row0, int64_t rows, int64_t col0, int64_t cols) {
  switch (op.activation) {
    case Activation::kNone:
      return finish<Activation::kNone>(op, c, c_stride, row0, rows, col0, cols);
    case Activation::kGeluTanh:
      return finish<Activation::kGeluTanh>(op, c, c_stride, row0, rows, col0, cols);
    case Activation::kGeluErf:
      return finish<Activation::kGeluErf>(op, c, c_stride, row0, rows, col0, cols);
    case Activation::kTanh:
      return finish<Activation::kTanh>(op, c, c_stride, row0, rows, col0, cols);
  }
}

/// The panel of W for one block of k: in place if W is packed, else packed into `buffer`.
template <typename W>
const W* weight_panel(const Weight& w, int64_t panel, int64_t k0, int64_t depth, W* buffer) {
  const W* data = static_cast<const W*>(w.data);
  if (w.form == WeightForm::kPacked) return data + packed_offset(w.rows, w.cols, panel, k0, depth);
  if constexpr (sizeof(W) == sizeof(real)) {
    const int cols = static_cast<int>(min(kPanel, w.rows - panel * kPanel));
    pack_panel_transposed(data + panel * kPanel * w.cols + k0, w.cols, cols, depth, buffer);
  }
  return buffer;
}

/// Tiles [first_tile, last_tile) of the rows from row0 on, times one group of panels.
/// `packed`: x in tiles, [tile][K][kTileRows].
template <typename W>
void multiply_group(const Linear& op, const real* packed, int64_t row0, const Tiling& tiling, int64_t first_tile,
                    int64_t last_tile, int64_t group) {
  const int64_t depth_total = op.weight.cols, cols_total = op.weight.rows;
  const int64_t first_panel = group * kGroupPanels;
  const int64_t last_panel = min(first_panel + kGroupPanels, ceil_div(cols_total, kPanel));
  alignas(64) real edge[kChunkRows * kPanel];       // sums of a last panel narrower than kPanel
  alignas(64) W plain_panel[kDepthBlock * kPanel];  // one panel of a plain W

  for (int64_t k0 = 0; k0 < depth_total; k0 += kDepthBlock) {
    const int64_t depth = min(kDepthBlock, depth_total - k0);
    const Into into = k0 == 0 ? Into::kOverwrite : Into::kAdd;
    for (int64_t panel = first_panel; panel < last_panel; ++panel) {
      const W* b = weight_panel(op.weight, panel, k0, depth, plain_panel);
      const int64_t col0 = panel * kPanel, cols = min(kPanel, cols_total - col0);
      for (int64_t tile = first_tile; tile < last_tile; ++tile) {
        const int64_t row = row0 + tiling.begin(tile);
        const int rows = tiling.size(tile);
        // One or two rows take W as fast as memory gives it, in order: the hardware fetches that better by itself.
        const bool fetches = tiling.rows > 2;
        const Ahead ahead =
            fetches ? Ahead(b + depth * kPanel, depth, tile - first_tile, last_tile - first_tile) : Ahead();
        const real* a = packed + (tile * depth_total + k0) * kTileRows;
        real* y = op.y.row<real>(row) + col0;
        real* c = cols == kPanel ? y : edge + (tiling.begin(tile) - tiling.begin(first_tile)) * kPanel;
        const int64_t c_stride = cols == kPanel ? op.y.stride : kPanel;
        multiply_tile(rows, a, b, depth, c, c_stride, into, ahead);
        if (k0 + depth == depth_total) finish(op, c, c_stride, row, rows, col0, cols);
      }
    }
  }
}

template <typename W>
void multiply(const Linear& op, Executor& executor) {
  const int64_t rows = op.x.rows, depth = op.x.cols;
  const int64_t groups = ceil_div(op.weight.rows, kGroupPanels * kPanel);
  const int64_t pass_rows = rows_per_pass(rows, depth);
  real* packed = static_cast<real*>(op.scratch.data);

  for (int64_t row0 = 0; row0 < rows; row0 += pass_rows) {
    const Tiling tiling{min(pass_rows, rows - row0)};
    executor.parallel_for(tiling.tiles, [&](int64_t tile, int) {
      pack_tile(op.x.row<real>(row0 + tiling.begin(tile)), op.x.stride, tiling.size(tile), depth,
                packed + tile * depth * kTileRows);
    });
    const int64_t chunks = ceil_div(tiling.tiles, kChunkTiles);
    executor.parallel_for(chunks * groups, [&](int64_t task, int) {
      const int64_t tile = (task % chunks) * kChunkTiles;
      multiply_group<W>(op, packed, row0, tiling, tile, min(tile + kChunkTiles, tiling.tiles), task / chunks);
    });
  }
}

/// Where row `row` of W begins in its panel of the k block from k0 on; its next k is kPanel elements on.
template <typename W>
int64_t place_of(int64_t num_rows, int64_t cols, int64_t row, int64_t k0, int64_t depth) {
  return packed_offset(num_rows, cols, row / kPanel, k0, depth) + place_in_step<W>(row % kPanel);
}

template <typename W>
void pack(const PackWeight& op) {
  const int64_t cols = op.rows.cols;
  for (int64_t k0 = 0; k0 < cols; k0 += kDepthBlock) {
    const int64_t depth = min(kDepthBlock, cols - k0);
    for (int64_t i = 0; i < op.rows.rows; ++i) {
      W* target = static_cast<W*>(op.packed) + place_of<W>(op.num_rows, cols, op.first_row + i, k0, depth);
      const W* source = op.rows.row<W>(i) + k0;
      for (int64_t k = 0; k < depth; ++k) target[k * kPanel] = source[k];
    }
  }
}

template <typename W>
void unpack(const UnpackWeight& op) {
  const int64_t cols = op.rows.cols;
  for (int64_t k0 = 0; k0 < cols; k0 += kDepthBlock) {
    const int64_t depth = min(kDepthBlock, cols - k0);
    for (int64_t i = 0; i < op.rows.rows; ++i) {
      const W* source = static_cast<const W*>(op.packed) + place_of<W>(op.num_rows, cols, op.first_row + i, k0, depth);
      W* target = op.rows.row<W>(i) + k0;
      for (int64_t k = 0; k < depth; ++k) target[k] = source[k * kPanel];
    }
  }
}

}  // namespace

size_t linear_scratch(int64_t rows, int64_t cols, Stream) {
  return ceil_div(rows_per_pass(rows, cols), kTileRows) * kTileRows * cols * sizeof(real);
}

void linear(const Linear& op, Stream stream) {
  Executor& executor = *static_cast<Executor*>(stream.handle);
  if constexpr (kHasBFloat16Weights) {
    if (op.weight.dtype == DType::kBFloat16) return multiply<bfloat16>(op, executor);
  }
  multiply<real>(op, executor);
}

void pack_weight(const PackWeight& op, Stream) { pack<real>(op); }
void pack_bfloat16_weight(const PackWeight& op, Stream) { pack<bfloat16>(op); }
void unpack_weight(const UnpackWeight& op, Stream) { unpack<real>(op); }
void unpack_bfloat16_weight(const UnpackWeight& op, Stream) { unpack<bfloat16>(op); }

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

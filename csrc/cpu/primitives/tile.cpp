#include "cpu/primitives/tile.h"

#include <utility>

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {
namespace {

/// One exchange of a transposition: of each 2 kHalf lanes, the upper half of a and the lower half of b change places.
template <int kHalf, int... kLane>
inline void exchange(vec& a, vec& b, std::integer_sequence<int, kLane...>) {
  const vec low = __builtin_shufflevector(a, b, (kLane & kHalf ? kLanes + kLane - kHalf : kLane)...);
  b = __builtin_shufflevector(a, b, (kLane & kHalf ? kLanes + kLane : kLane + kHalf)...);
  a = low;
}

/// Transposes a square of kLanes vectors, by squares of 1, 2, 4, .. lanes.
template <int kHalf = 1>
inline void transpose(vec (&rows)[kLanes]) {
  if constexpr (kHalf < kLanes) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      if ((i & kHalf) == 0) {
        exchange<kHalf>(rows[i], rows[i + kHalf], std::make_integer_sequence<int, kLanes>());
      }
    }
    transpose<2 * kHalf>(rows);
  }
}

/// Rows that `load_panels` asks for before it copies them: some 30 lines on their way, which is what a core can wait
/// for.
constexpr int64_t kRowsAhead = 8;

/// Numbers of a row that `transpose_unit` asks for before they come.
constexpr int64_t kAhead = 4 * kLanes;

/// kPanel rows of x, kLanes of each, into kLanes steps of a panel; what lies beyond `rows` and `depth` is zero or not
/// written.
inline void transpose_unit(const real* x, int64_t stride, int64_t rows, int64_t depth, real* panel) {
  if (rows < kPanel || depth < kLanes) {
    for (int64_t j = 0; j < kPanel; ++j) {
      for (int64_t k = 0; k < kLanes && k < depth; ++k) panel[k * kPanel + j] = j < rows ? x[j * stride + k] : 0;
    }
    return;
  }
  for (int j = 0; j < kPanel; j += kLanes) {
    vec square[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      __builtin_prefetch(x + (j + i) * stride + kAhead);
      square[i] = load(x + (j + i) * stride);
    }
    transpose(square);
    for (int i = 0; i < kLanes; ++i) store(panel + i * kPanel + j, square[i]);
  }
}

}  // namespace

void pack_tile(const real* x, int64_t stride, int rows, int64_t depth, real* tile) {
  for (int i = 0; i < rows; ++i) {
    for (int64_t k = 0; k < depth; ++k) tile[k * kTileRows + i] = x[i * stride + k];
  }
}

void pack_tile_transposed(const real* x, int64_t stride, int rows, int64_t depth, real* tile) {
  for (int64_t k = 0; k < depth; ++k) {
    for (int i = 0; i < rows; ++i) tile[k * kTileRows + i] = x[k * stride + i];
  }
}

void pack_panel_transposed(const real* x, int64_t stride, int cols, int64_t depth, real* panel) {
  load_panels_transposed(0, 1, x, stride, cols, depth, panel);
}

void pack_panel(const real* x, int64_t stride, int cols, int64_t depth, real* panel) {
  for (int64_t k = 0; k < depth; ++k) {
    for (int j = 0; j < kPanel; ++j) panel[k * kPanel + j] = j < cols ? x[k * stride + j] : 0;
  }
}

void load_panels(int64_t share, int64_t shares, const real* x, int64_t stride, int64_t cols, int64_t depth,
                 real* panels) {
  for (int64_t k = depth * share / shares; k < depth * (share + 1) / shares; ++k) {
    const real* row = x + k * stride;
    const real* soon = row + kRowsAhead * stride;  // may lie behind x: a prefetch never faults
    int64_t j = 0;
    for (; j + kPanel <= cols; j += kPanel) {
      real* to = panels + j * depth + k * kPanel;
      __builtin_prefetch(soon + j);
      store(to, load(row + j));
      store(to + kLanes, load(row + j + kLanes));
    }
    for (int64_t i = j; j < cols && i < j + kPanel; ++i) {
      panels[j * depth + k * kPanel + i - j] = i < cols ? row[i] : 0;
    }
  }
}

void load_panels_transposed(int64_t share, int64_t shares, const real* x, int64_t stride, int64_t rows, int64_t depth,
                            real* panels) {
  const int64_t steps = (depth + kLanes - 1) / kLanes, units = (rows + kPanel - 1) / kPanel * steps;
  for (int64_t unit = units * share / shares; unit < units * (share + 1) / shares; ++unit) {
    const int64_t first = unit / steps * kPanel, k = unit % steps * kLanes;
    transpose_unit(x + first * stride + k, stride, rows - first, depth - k, panels + first * depth + k * kPanel);
  }
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

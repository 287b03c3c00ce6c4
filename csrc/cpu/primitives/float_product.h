// What `linear` is made of, for weights of the variant's own floats or of bfloat16.
#pragma once

#include "cpu/primitives/tile.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

template <typename Stored>
struct FloatProduct {
  using X = real;         // unit of packed x
  using W = Stored;       // unit of packed W
  using Source = Stored;  // of the rows that pack_rows takes
  static constexpr int kRows = kTileRows;
  static constexpr int64_t kChain = kChainLength;
  static constexpr int64_t kShortChain = 32;

  static int64_t x_units(int64_t depth) { return depth * kRows; }
  static int64_t w_units(int64_t depth) { return depth * kPanel; }
  static int64_t steps(int64_t depth) { return depth; }

  static void pack_x(const real* x, int64_t stride, int rows, int64_t depth, X* tile) {
    pack_tile(x, stride, rows, depth, tile);
  }
  /// Rows, `stride` apart, to columns [column, column + rows). Those of a whole panel are transposed by squares: alone,
  /// each would write one number into every line of it.
  static void pack_rows(const Source* x, int64_t stride, int64_t rows, int64_t depth, int64_t column, W* panel) {
    if constexpr (sizeof(W) == sizeof(real)) {
      if (rows == kPanel) return pack_panel_transposed(x, stride, kPanel, depth, panel);
    }
    for (int64_t i = 0; i < rows; ++i, x += stride) {
      for (int64_t k = 0; k < depth; ++k) panel[k * kPanel + place_in_step<W>(column + i)] = x[k];
    }
  }
  static void unpack_row(const W* panel, int64_t depth, int64_t column, Source* row) {
    for (int64_t k = 0; k < depth; ++k) row[k] = panel[k * kPanel + place_in_step<W>(column)];
  }
  static void multiply(int rows, const X* a, const W* b, int64_t depth, real* c, int64_t stride, Into into,
                       Ahead ahead) {
    multiply_tile(rows, a, b, depth, c, stride, into, ahead);
  }
};

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

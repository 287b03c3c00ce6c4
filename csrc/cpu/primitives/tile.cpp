#include "cpu/primitives/tile.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

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
  for (int j = 0; j < cols; ++j) {
    for (int64_t k = 0; k < depth; ++k) panel[k * kPanel + j] = x[j * stride + k];
  }
  for (int j = cols; j < kPanel; ++j) {
    for (int64_t k = 0; k < depth; ++k) panel[k * kPanel + j] = 0;
  }
}

void pack_panel(const real* x, int64_t stride, int cols, int64_t depth, real* panel) {
  for (int64_t k = 0; k < depth; ++k) {
    for (int j = 0; j < kPanel; ++j) panel[k * kPanel + j] = j < cols ? x[k * stride + j] : 0;
  }
}

void pack_panels(const real* x, int64_t stride, int64_t cols, int64_t depth, real* panels) {
  int64_t j = 0;
  for (; j + kPanel <= cols; j += kPanel) {
    real* panel = panels + j * depth;
    for (int64_t k = 0; k < depth; ++k) {
      store(panel + k * kPanel, load(x + k * stride + j));
      store(panel + k * kPanel + kLanes, load(x + k * stride + j + kLanes));
    }
  }
  if (j < cols) pack_panel(x + j, stride, static_cast<int>(cols - j), depth, panels + j * depth);
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

#include "cpu/primitives/tile.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

void multiply_tile(int rows, const real* a, const real* b, int64_t depth, real* c, int64_t stride, Into into,
                   Ahead ahead) {
  switch (rows) {
#define ALBERT_FAST_ROWS(n) \
  case n:                   \
    return multiply_tile<n>(a, b, depth, c, stride, into, ahead);
    ALBERT_FAST_ROWS(1)
    ALBERT_FAST_ROWS(2)
    ALBERT_FAST_ROWS(3)
    ALBERT_FAST_ROWS(4)
    ALBERT_FAST_ROWS(5)
    ALBERT_FAST_ROWS(6)
#if ALBERT_FAST_VECTOR_BYTES == 64
    ALBERT_FAST_ROWS(7)
    ALBERT_FAST_ROWS(8)
    ALBERT_FAST_ROWS(9)
    ALBERT_FAST_ROWS(10)
    ALBERT_FAST_ROWS(11)
    ALBERT_FAST_ROWS(12)
#endif
#undef ALBERT_FAST_ROWS
    default:
      __builtin_unreachable();
  }
}

void pack_tile(const real* x, int64_t stride, int rows, int64_t depth, real* tile) {
  for (int i = 0; i < rows; ++i) {
    for (int64_t k = 0; k < depth; ++k) tile[k * kTileRows + i] = x[i * stride + k];
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

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

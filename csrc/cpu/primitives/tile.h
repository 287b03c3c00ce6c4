// The product of one register tile, and the panels it reads. linear and attention are built from it.
//
//            panel of B: [depth][kPanel]                A tile [depth][kTileRows] holds up to kTileRows rows of the
//            k = 0  b00 b01 ... b0,15                   left operand, interleaved; a B panel holds kPanel columns
//            k = 1  b10 b11 ... b1,15                   of the right one. Each step k broadcasts one number per row
//   tile of A                                           and multiplies it into two vectors of B, so a tile of C is
//   [depth][kTileRows]   ->   C [rows][kPanel]          kTileRows x 2 vector accumulators that stay in registers.
//
// Every element of C is one chain of multiply-adds in the order of k, starting at zero, whatever the number of rows:
// a row's result does not depend on the rows beside it.
#pragma once

#include "cpu/primitives/block.h"
#include "cpu/primitives/simd.h"
#include "kernels/types.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

/// Rows of a register tile. An accumulator is free again after 4 cycles and two can start in each, so at least 8 are
/// needed; 6 x 2 of the 16 registers of SSE and AVX leave 2 for B and 1 for A, 12 x 2 do the same with 32.
#ifdef ALBERT_FAST_32_REGISTERS
inline constexpr int kTileRows = 12;
#else
inline constexpr int kTileRows = 6;
#endif

/// Columns of a panel: two vectors, so that each broadcast of A is used twice.
inline constexpr int kPanel = 2 * kLanes;

/// k is taken in blocks of this. 256 x kPanel floats are 16 KB on AVX2, half of the L1 cache.
inline constexpr int64_t kDepthBlock = 256;

/// Length of one chain of multiply-adds over k; longer sums add up chains. A chain's rounding error grows with the root
/// of its length: 128 keeps products as exact as those of the libraries that sum in several accumulators, and costs a
/// tile's sums, 24 loads and stores, per 128 x 24 multiply-adds.
inline constexpr int64_t kChainLength = 128;
static_assert(kDepthBlock % kChainLength == 0);

/// Into the second level of cache: the first has the panel and the tile in use.
inline constexpr int kFetchLocality = 2;

/// Memory that is read next, asked for line by line while a product runs: `share` of `shares` equal parts of the
/// `bytes` at `panel`, in `steps`, so that the tiles that use one panel fetch the next between them, evenly, and
/// neither waits for memory. It may point anywhere: a prefetch never faults. Without a panel nothing is asked for.
struct Ahead {
  const char* data = nullptr;
  int64_t step = 0;  // bytes of one step

  Ahead() = default;
  Ahead(const void* panel, int64_t bytes, int64_t share, int64_t shares, int64_t steps)
      : data(static_cast<const char*>(panel) + bytes * share / shares), step(ceil_div(bytes, shares * steps)) {}

  /// What the steps that a product has done have asked for.
  void skip(int64_t steps) { data += steps * step; }

  /// One step: its lines, of the `kBytes` that a step of the product reads. All of them if the tile is the only one:
  /// a line that nobody asked for is waited for.
  template <int64_t kBytes>
  __attribute__((always_inline)) void fetch() {
    constexpr int64_t kLine = 64;
#pragma GCC unroll 2
    for (int64_t line = 0; line < kBytes; line += kLine) {
      if (line < step) __builtin_prefetch(data + line, 0, kFetchLocality);
    }
    data += step;
  }
};

/// A bfloat16 weight: the upper half of a float.
struct bfloat16 {
  uint16_t bits;
};

/// Where column j stands in one step of k of a panel. bfloat16 columns j and j + kLanes share 32 bits, the first in the
/// lower half, so that a shift and a mask make two vectors of floats of one.
template <typename W>
inline int64_t place_in_step(int64_t j) {
  if constexpr (sizeof(W) == sizeof(bfloat16)) return j < kLanes ? 2 * j : 2 * (j - kLanes) + 1;
  return j;
}

/// The columns of one step of k as two vectors.
template <typename W>
inline __attribute__((always_inline)) void load_step(const W* b, vec& b0, vec& b1) {
  if constexpr (sizeof(W) == sizeof(bfloat16)) {
    typedef uint32_t uvec __attribute__((vector_size(ALBERT_FAST_VECTOR_BYTES)));
    typedef uint32_t unaligned_uvec __attribute__((vector_size(ALBERT_FAST_VECTOR_BYTES), aligned(4), may_alias));
    const uvec both = *reinterpret_cast<const unaligned_uvec*>(b);
    b0 = reinterpret_cast<vec>(both << 16);
    b1 = reinterpret_cast<vec>(both & 0xffff0000u);
  } else {
    b0 = load(b);
    b1 = load(b + kLanes);
  }
}

/// c[i][j] (+)= sum_k a[k][i] b[k][j] for i < kRows, j < kPanel.
/// @param a  tile [depth][kTileRows]
/// @param b  panel [depth][kPanel], of real or bfloat16
/// @param c  [kRows] rows, `stride` apart
/// @param ahead  what to fetch meanwhile
template <int kRows, typename W>
inline __attribute__((always_inline)) void multiply_tile(const real* a, const W* b, int64_t depth, real* c,
                                                         int64_t stride, Into into, Ahead ahead) {
  vec sums[kRows][2] = {};
  for (int64_t k = 0; k < depth; ++k) {
    vec b0, b1;
    load_step(b, b0, b1);
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
      const vec x = broadcast(a[i]);
      sums[i][0] += x * b0;
      sums[i][1] += x * b1;
    }
    ahead.fetch<kPanel * int64_t{sizeof(W)}>();
    a += kTileRows;
    b += kPanel;
  }
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
    real* row = c + i * stride;
    store(row, into == Into::kAdd ? load(row) + sums[i][0] : sums[i][0]);
    store(row + kLanes, into == Into::kAdd ? load(row + kLanes) + sums[i][1] : sums[i][1]);
  }
}

/// The same for a number of rows known at run time, 1 <= rows <= kTileRows.
template <typename W>
inline void multiply_tile(int rows, const real* a, const W* b, int64_t depth, real* c, int64_t stride, Into into,
                          Ahead ahead = {}) {
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
#ifdef ALBERT_FAST_32_REGISTERS
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

/// tile[k][i] = x[i][k] for i < rows, k < depth: rows `stride` apart into a tile of A.
void pack_tile(const real* x, int64_t stride, int rows, int64_t depth, real* tile);

/// tile[k][i] = x[k][i] for i < rows, k < depth: columns of x into a tile of A.
void pack_tile_transposed(const real* x, int64_t stride, int rows, int64_t depth, real* tile);

/// panel[k][j] = x[j][k] for j < cols, zeros up to kPanel: rows of W[N, K] into a panel of B (B = W^T).
void pack_panel_transposed(const real* x, int64_t stride, int cols, int64_t depth, real* panel);

/// panel[k][j] = x[k][j] for j < cols, zeros up to kPanel: rows into a panel of B as they are.
void pack_panel(const real* x, int64_t stride, int cols, int64_t depth, real* panel);

/// Share `share` of `shares` of copying `cols` columns of x, rows k < depth, into panels [cols /
/// kPanel][depth][kPanel], zeros up to a whole panel. Each share asks for lines that the next ones copy: rows are far
/// apart in memory.
void load_panels(int64_t share, int64_t shares, const real* x, int64_t stride, int64_t cols, int64_t depth,
                 real* panels);

/// The same for `rows` rows of x, each of which becomes a column.
void load_panels_transposed(int64_t share, int64_t shares, const real* x, int64_t stride, int64_t rows, int64_t depth,
                            real* panels);

/// All of `load_panels` at once.
inline void pack_panels(const real* x, int64_t stride, int64_t cols, int64_t depth, real* panels) {
  load_panels(0, 1, x, stride, cols, depth, panels);
}

/// out[j] = a[j] + b[j] for j < n, or a[j] if b is null; out may be b.
inline void add_row(const real* a, const real* b, int64_t n, real* out) {
  int64_t j = 0;
  for (; j + kLanes <= n; j += kLanes) store(out + j, b ? load(a + j) + load(b + j) : load(a + j));
  for (; j < n; ++j) out[j] = b ? a[j] + b[j] : a[j];
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

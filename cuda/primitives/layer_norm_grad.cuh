// Backwards through LayerNorm, for the kernels that have it: layer_norm_grad and embed_grad.
//
//   x^ = (x - mean) * scale,  scale = 1 / sqrt(var + eps),  g = dy * gamma
//   dx = (g - mean(g) - x^ mean(g x^)) * scale,  dgamma = sum of dy x^ over rows,  dbeta = sum of dy over rows
//
//   rows  0 .. 31 | group 0 |  --> dx of these rows, and partials [0][2][width]: what they mean for dgamma and dbeta
//   rows 32 .. 63 | group 1 |  --> ...                       [1]
//
// A group of threads (row.cuh) walks over kPartialRows neighbours in ascending order, with a row of x^, one of dy and
// two of sums in registers. Partials are added in ascending order by a kernel of their own (add_partials.h): which rows
// meet in which order depends on their numbers alone.
#pragma once

#include "primitives/row.cuh"

namespace albert_fast::cuda {

/// Partials then make a tenth of what a kernel writes, and 4096 rows keep 128 groups at work.
inline constexpr int kPartialRows = 32;

/// One tile of groups to a block: what there is to hand out, blocks of 32 rows, are few.
template <typename Shape>
inline constexpr int kGradThreads = Shape::kTileThreads;

struct LayerNormGradRows {
  int64_t rows;
  int width;
  float inverse_width;
  float eps;
  float* partials;  // [rows / kPartialRows, rounded up][2][width]
};

/// load_x(row, t) and load_dy(row, t) load row t, store(row, t) takes its dx away; none is called for t beyond the
/// last. gamma is in shared memory, where the block has just copied it: all of its one tile meet in the first sum,
/// before any of them reads it.
template <typename Shape, int kVector, typename T, typename LoadX, typename LoadDy, typename Store>
__device__ void differentiate_rows(RowSums& sums, const LayerNormGradRows& p, const T* gamma, LoadX load_x,
                                   LoadDy load_dy, Store store) {
  using ThisRow = Row<Shape, kVector>;
  RowGroup<Shape::kThreads> group(sums);
  const int64_t partial = static_cast<int64_t>(blockIdx.x) * Shape::kTileRows + threadIdx.x / Shape::kThreads;
  const int64_t first = partial * kPartialRows;
  ThisRow dgamma(group, first < p.rows ? p.width : 0), dbeta(group, first < p.rows ? p.width : 0);
  __syncwarp();  // a tile of one warp meets in shuffles, which order nothing in memory
  dgamma.clear();
  dbeta.clear();
  for (int64_t t = first; t < first + kPartialRows; ++t) {
    const int width = t < p.rows ? p.width : 0;  // beyond the last row it still takes part in sums of its warp
    ThisRow x(group, width), dy(group, width);
    if (width > 0) {
      load_x(x, t);
      load_dy(dy, t);
    }
    const float scale = x.standardize(p.inverse_width, p.eps);
    dy.differentiate(x, scale, gamma, p.inverse_width, dgamma, dbeta);
    if (width > 0) store(dy, t);
  }
  float* const to = p.partials + partial * 2 * p.width;
  dgamma.store(to);
  dbeta.store(to + p.width);
}

}  // namespace albert_fast::cuda

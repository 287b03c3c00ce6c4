// The loops of a large product C[rows, cols] = X[rows, depth] W[depth, cols], for `linear` and its gradients, which say
// where X, W and C lie and how they are packed.
//
//                        group of panels of W, taken by one thread for one chunk of rows
//                        |<------------ kGroupPanels x kPanel columns ------------>|
//     k block 0          [panel 0: depth x kPanel][panel 1] ...                       16 KB each: L1
//     k block 1          [panel 0                ][panel 1] ...
//     X, packed into tiles of kRows rows; a chunk's block of k is kChunkRows x kDepthBlock floats: L2
//
// A thread walks the k blocks of its group front to back, once per chunk. Chunks that run at the same time share a
// group, so W comes from memory once for all the rows of a call, up to kPackedBytes of packed X.
//
// Sums over k: chains of P::kChain multiply-adds (P::kShortChain where there are few columns), added up in order of k;
// C is finished by the thread that adds the last block, while the tile is in L1.
//
// A `Product` P has
//     types X, W; kRows; x_units(depth), w_units(depth): how much a packed tile or panel takes; steps(depth): in how
//         many steps `multiply` asks for what is ahead
//     pack_x(row, rows, tile): rows of X, over all of the depth, into a tile
//     kGroupPanels, kBuffers: panels of a group, and how many k blocks of them are copied: none if they are read in
//         place
//     load(share, shares, first, last, k0, depth, buffer): a share of copying panels first .. last of one k block; the
//         shares of the next block are done between the tiles of this one, so that memory and arithmetic overlap
//     panel(panel, first, k0, depth, buffer): where one of them is then
//     ahead(...): what memory to ask for during one tile
//     expect(row, rows, col0): C is about to be finished there
//     multiply(rows, a, b, depth, c, stride, into, ahead): one register tile
//     kChain, kShortChain: for how many steps of k it is called, and for how few it may be
//     finish(c, row, rows, col0, cols): sums c[rows][kPanel] to where they belong
#pragma once

#include "cpu/primitives/block.h"
#include "cpu/primitives/tile.h"
#include "cpu/runtime/executor.h"
#include "kernels/ops.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

/// A chunk of X for one block of k is 144 KB in AVX2 floats. With it go the panels of a group and their sums: 8 panels
/// that are read in place are 128 + 72 KB, two blocks of 4 that are copied 128 + 36 KB. Either is within 512 KB of L2.
inline constexpr int64_t kChunkRows = 144;
inline constexpr int64_t kPackedGroup = 8;
inline constexpr int64_t kCopiedGroup = 4;
static_assert(kPackedRowMultiple % kPanel == 0);

/// So few columns are a classifier's logits. They are differences of sums far larger than they are, so the error of a
/// long chain shows in them, and they cost so little that short chains do not.
inline constexpr int64_t kFewColumns = 8;

/// Bound of the packed copy of X. Packing costs 1/cols of the product, and W is read once per this much of X.
inline constexpr int64_t kPackedBytes = int64_t{32} << 20;

template <typename P>
inline constexpr int64_t kChunkTiles = kChunkRows / P::kRows;

template <typename P>
int64_t tiles_per_pass(int64_t rows, int64_t depth) {
  const int64_t chunks = kPackedBytes / (kChunkTiles<P> * P::x_units(depth) * int64_t{sizeof(typename P::X)});
  return min(ceil_div(rows, P::kRows), (chunks > 0 ? chunks : 1) * kChunkTiles<P>);
}

/// Scratch that `multiply` needs.
template <typename P>
size_t packed_x_bytes(int64_t rows, int64_t depth) {
  return tiles_per_pass<P>(rows, depth) * P::x_units(depth) * sizeof(typename P::X);
}

/// Rows cut into as few tiles as hold them, which differ by one row at most: 16 rows are 6 + 5 + 5 and not 6 + 6 + 4,
/// because a tile of few rows waits for its own accumulators.
struct Tiling {
  int64_t rows;
  int64_t tiles;

  int64_t begin(int64_t tile) const { return tile * rows / tiles; }
  int size(int64_t tile) const { return static_cast<int>(begin(tile + 1) - begin(tile)); }
};

/// Tiles [first_tile, last_tile) of the rows from row0 on, times one group of panels. `packed`: X in tiles.
/// Sums are kept apart from C until all blocks of k are in them: rows of C are a power of two apart more often than
/// not, so that the lines of one panel's columns would share a few sets of the caches and push each other out.
template <typename P>
void multiply_group(const P& product, int64_t depth_total, int64_t cols_total, const typename P::X* packed,
                    int64_t row0, const Tiling& tiling, int64_t first_tile, int64_t last_tile, int64_t group) {
  constexpr int64_t kPanels = P::kGroupPanels, kBlock = kPanels * kDepthBlock * kPanel;
  const int64_t first = group * kPanels, last = min(first + kPanels, ceil_div(cols_total, kPanel));
  alignas(64) real sums[kPanels * kChunkRows * kPanel];
  alignas(64) typename P::W buffers[P::kBuffers * kBlock + 1];
  const auto buffer_of = [&](int64_t k0) { return buffers + k0 / kDepthBlock % 2 * (P::kBuffers / 2 * kBlock); };
  const int64_t chain = cols_total <= kFewColumns ? P::kShortChain : P::kChain;
  product.load(0, 1, first, last, 0, min(kDepthBlock, depth_total), buffer_of(0));

  for (int64_t k0 = 0; k0 < depth_total; k0 += kDepthBlock) {
    const int64_t depth = min(kDepthBlock, depth_total - k0), next = k0 + depth;
    for (int64_t panel = first; panel < last; ++panel) {
      const auto* b = product.panel(panel, first, k0, depth, buffer_of(k0));
      const int64_t col0 = panel * kPanel, cols = min(kPanel, cols_total - col0);
      for (int64_t tile = first_tile; tile < last_tile; ++tile) {
        const int64_t row = row0 + tiling.begin(tile), share = tile - first_tile, shares = last_tile - first_tile;
        const int rows = tiling.size(tile);
        if (next == depth_total) {
          product.expect(row, rows, col0);
        } else {
          product.load((panel - first) * shares + share, (last - first) * shares, first, last, next,
                       min(kDepthBlock, depth_total - next), buffer_of(next));
        }
        // One or two rows take W as fast as memory gives it, in order: the hardware fetches that better by itself.
        Ahead ahead = tiling.rows <= 2 ? Ahead() : product.ahead(b, depth, share, shares);
        const auto* a = packed + tile * P::x_units(depth_total) + P::x_units(k0);
        real* c = sums + ((panel - first) * kChunkRows + tiling.begin(tile) - tiling.begin(first_tile)) * kPanel;
        for (int64_t k = 0; k < depth; k += chain) {
          P::multiply(rows, a + P::x_units(k), b + P::w_units(k), min(chain, depth - k), c, kPanel,
                      k0 + k == 0 ? Into::kOverwrite : Into::kAdd, ahead);
          ahead.skip(P::steps(chain));
        }
        if (next == depth_total) product.finish(c, row, rows, col0, cols);
      }
    }
  }
}

/// `scratch` has packed_x_bytes(rows, depth) bytes.
template <typename P>
void multiply(const P& product, int64_t rows, int64_t depth, int64_t cols, Scratch scratch, Executor& executor) {
  const int64_t groups = ceil_div(cols, P::kGroupPanels * kPanel);
  const int64_t pass_rows = tiles_per_pass<P>(rows, depth) * P::kRows;
  auto* packed = static_cast<typename P::X*>(scratch.data);

  for (int64_t row0 = 0; row0 < rows; row0 += pass_rows) {
    const int64_t in_pass = min(pass_rows, rows - row0);
    const Tiling tiling{in_pass, ceil_div(in_pass, P::kRows)};
    executor.parallel_for(tiling.tiles, [&](int64_t tile, int) {
      product.pack_x(row0 + tiling.begin(tile), tiling.size(tile), packed + tile * P::x_units(depth));
    });
    const int64_t chunks = ceil_div(tiling.tiles, kChunkTiles<P>);
    executor.parallel_for(chunks * groups, [&](int64_t task, int) {
      const int64_t tile = (task % chunks) * kChunkTiles<P>;
      multiply_group(product, depth, cols, packed, row0, tiling, tile, min(tile + kChunkTiles<P>, tiling.tiles),
                     task / chunks);
    });
  }
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

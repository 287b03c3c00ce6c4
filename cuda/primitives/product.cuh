// y[T, N] = x[T, K] W[N, K]^T, tile by tile: the main loop of `linear` and of its two gradients, each of which puts its
// own operands in the places of x and the weight. An operand lies in memory with its depth, K, in its rows or in its
// columns (Depth).
//
//                                weight: rows of it, N
//                           +------------ rows ------------+
//                     depth |                              |   a stage, in shared memory: one step along K of both
//                           +------------------------------+   operands, copied by all threads (TileCopy)
//     x      +-- depth --+  +---------+---------+----------+
//            |           |  |  warp 0 |  warp 1 | ...      |   a tile of y, one block's: warps_m x warps_n warps,
//     tokens |           |  +---------+---------+----------+   each with its sums in registers (MmaTile, or SimtTile
//            |           |  |         |         |          |   for float)
//            +-----------+  +---------+---------+----------+
//
// Stages pass through a ring of kStages buffers. Invariants where stage s begins:
//   1. stage s is in its buffer and its first fragments are in registers;
//   2. stages s + 1 .. s + kStages - 1 are on their way, one group of copies each;
//   3. before the last products of stage s, one barrier says two things: stage s + 1 has arrived for everybody, and
//      everybody has read all of stage s, so that stage s + kStages can take its buffer.
// Stages beyond K copy zeros, which reads nothing and adds nothing: the loop has no special cases.
//
// Batch invariance: an element of y is one chain over k ascending (for float: chains of a fixed length), with the same
// instruction and operand roles in every tile; T and the tile decide only which block computes it.
#pragma once

#include <type_traits>

#include "linear_tiles.h"
#include "primitives/epilogue.cuh"
#include "primitives/mma_tile.cuh"
#include "primitives/simt_tile.cuh"
#include "primitives/tile.cuh"

namespace albert_fast::cuda {

template <typename T, typename Out = T>
struct Product {
  const T* x;  // [num_tokens][depth], or [depth][num_tokens]
  const T* weight;
  int64_t x_stride;
  int64_t weight_stride;
  int depth;
  int token_tiles;
  int row_tiles;
  Epilogue<Out> epilogue;  // has num_tokens and num_rows
};

/// Tile kIndex of a table as the kernel sees it; float has a table of its own.
template <typename T, const auto& kTiles, int kIndex, Depth kX, Depth kWeight, typename Out = T>
struct ProductTraits {
  using Parameters = Product<T, Out>;
  static constexpr bool kSimt = std::is_same_v<T, float>;
  static constexpr LinearTile kTile = kSimt ? kSimtTiles[kSimt ? kIndex : 0] : kTiles[kIndex];
  static constexpr int kTokens = kTile.tokens, kRows = kTile.rows, kDepth = kTile.depth, kStages = kTile.stages;
  static constexpr int kThreads = 32 * kTile.warps_m * kTile.warps_n;
  using Sums = std::conditional_t<kSimt, SimtTile<kTokens, kRows, kDepth, kTile.warps_m, kX, kWeight>,
                                  MmaTile<T, kTokens, kRows, kDepth, kTile.warps_m, kTile.warps_n, kX, kWeight>>;
  using CopyX = TileCopy<T, kTokens, kDepth, kThreads, kX>;
  using CopyWeight = TileCopy<T, kRows, kDepth, kThreads, kWeight>;
  using Output = SlabEpilogue<Out, Sums::kSlabRows, kRows, kThreads>;
  static constexpr int kXBytes = kTokens * kDepth * sizeof(T);
  static constexpr int kStageBytes = (kTokens + kRows) * kDepth * sizeof(T);
  static_assert(shared_bytes(kTile, sizeof(T)) == kStages * kStageBytes);
  static_assert(Sums::kSlabRows * Output::kStride * 4 <= kStages * kStageBytes, "sums leave through the buffers");
};

struct TileIndex {
  int token_tile;
  int row_tile;
};

/// Which tile a block computes. Blocks that run at the same time should share operands in L2: of a group of kGroup
/// tiles of tokens, all take one tile of rows before the next; about a hundred blocks are then as tall as wide.
__device__ inline TileIndex tile_of_block(int block, int token_tiles, int row_tiles) {
  constexpr int kGroup = 8;
  const int group = block / (kGroup * row_tiles);
  const int in_group = block % (kGroup * row_tiles);
  const int height = min(kGroup, token_tiles - group * kGroup);
  return {group * kGroup + in_group % height, in_group / height};
}

/// This block's tile of y, from the first copy to the last store. A kernel is this and its launch bounds: at most 255
/// registers, for 64 x 64 warp tiles have 128 of sums and 64 of fragments. Their blocks are bound by that and by shared
/// memory to one (256 threads) or two (128) per multiprocessor, so no minimum of blocks is asked for.
template <typename Traits>
__device__ __forceinline__ void compute_tile(const typename Traits::Parameters& p) {
  using Sums = typename Traits::Sums;
  constexpr int kSteps = Sums::kSteps, kStages = Traits::kStages;
  extern __shared__ __align__(256) unsigned char buffers[];  // [kStages][x tile, weight tile]
  const uint32_t first_buffer = shared_address(buffers);
  const auto after = [&](uint32_t buffer) {
    const uint32_t next = buffer + Traits::kStageBytes;
    return next == first_buffer + kStages * Traits::kStageBytes ? first_buffer : next;
  };

  const TileIndex tile = tile_of_block(blockIdx.x, p.token_tiles, p.row_tiles);
  const int64_t first_token = int64_t{tile.token_tile} * Traits::kTokens;
  const int64_t first_row = int64_t{tile.row_tile} * Traits::kRows;
  typename Traits::CopyX x(p.x, p.x_stride, p.epilogue.num_tokens, p.depth, first_token);
  typename Traits::CopyWeight weight(p.weight, p.weight_stride, p.epilogue.num_rows, p.depth, first_row);
  const auto copy_next = [&](uint32_t buffer) {
    x.copy_next(buffer);
    weight.copy_next(buffer + Traits::kXBytes);
    commit_copies();
  };

  Sums sums;
  typename Sums::Fragments fragments[2];
  const auto load = [&](int step, uint32_t buffer) {
    sums.load(fragments[step % 2], buffer, buffer + Traits::kXBytes, step % kSteps);
  };
  static_assert(kSteps % 2 == 0, "the two sets of fragments take turns across stages too");

  // 1. Fill the ring.
#pragma unroll
  for (int stage = 0; stage < kStages; ++stage) copy_next(first_buffer + stage * Traits::kStageBytes);
  wait_copies<kStages - 1>();
  __syncthreads();
  uint32_t buffer = first_buffer;
  load(0, buffer);

  // 2. The sums. The fragments of the next step are on their way while those of this one are multiplied.
  const int num_stages = (p.depth + Traits::kDepth - 1) / Traits::kDepth;
#pragma unroll 1
  for (int stage = 0; stage < num_stages; ++stage) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      if (step + 1 == kSteps) {
        wait_copies<kStages - 2>();
        __syncthreads();
        const uint32_t read = buffer;
        buffer = after(buffer);
        load(kSteps, buffer);
        copy_next(read);
      } else {
        load(step + 1, buffer);
      }
      sums.multiply(fragments[step % 2]);
    }
    sums.end_stage(stage);
  }

  // 3. The sums leave in slabs of rows, through shared memory, so that whole rows of the tile are written at once.
  const typename Traits::Output output(p.epilogue, first_row);
  wait_copies<0>();
#pragma unroll 1
  for (int slab = 0; slab < Sums::kSlabs; ++slab) {
    __syncthreads();  // everybody has read the last stage, or the slab before
    sums.store(first_buffer, Traits::Output::kStride, slab);
    __syncthreads();
    output.finish(first_buffer, [&](int row) { return first_token + Sums::token_of(slab, row); });
  }
}

}  // namespace albert_fast::cuda

// The product of two tiles of 16-bit numbers on tensor cores: one warp's part.
//
//                        8 kN rows of the weight
//                      n8      n8      n8      n8
//                  +-------+-------+-------+-------+     k16 of both operands at a time, k ascending;
//     16 kM   m16  | 0, 0  | 0, 1  | ...           |     c[m][n] is one accumulator of mma.m16n8k16:
//     tokens  m16  | 1, 0  | ...                   |     lane i has rows i / 4 and i / 4 + 8 at
//                  +-------+-------+-------+-------+     columns 2 (i % 4) and 2 (i % 4) + 1
//
// Each element of y is one chain of products over k, whatever the sizes of the tile: its bits do not depend on them.
#pragma once

#include <cstdint>

#include "primitives/ptx.cuh"
#include "primitives/tile.cuh"

namespace albert_fast::cuda {

/// A block has kWarpsM x kWarpsN warps; tiles are kDepth deep, with kTokens rows of x and kRows of the weight, or,
/// where the depth is in an operand's columns, as many of its columns: these are transposed on their way to registers.
template <typename T, int kTokens, int kRows, int kDepth, int kWarpsM, int kWarpsN, Depth kX, Depth kWeight>
class MmaTile {
  static constexpr int kWarpTokens = kTokens / kWarpsM, kWarpRows = kRows / kWarpsN;
  static constexpr int kM = kWarpTokens / 16, kN = kWarpRows / 8;
  static_assert(kWarpTokens % 16 == 0 && (kN == 1 || kN % 2 == 0));
  static constexpr int kWide = kN == 1 ? 2 : 4;  // registers of one ldmatrix of the weight: n8 x k16 or n16 x k16
  using XTile = OperandTile<T, kTokens, kDepth, kX>;
  using WeightTile = OperandTile<T, kRows, kDepth, kWeight>;
  static_assert(kX == Depth::kInRows || (kM & (kM - 1)) == 0, "see load_block");
  static_assert(kWeight == Depth::kInRows || (kN > 1 && (kN & (kN - 1)) == 0), "see load_block");

 public:
  static constexpr int kSteps = kDepth / 16;  // fragments of a stage
  static constexpr int kSlabs = kM;           // parts in which the sums leave
  static constexpr int kSlabRows = 16 * kWarpsM;

  /// What a warp multiplies at a time: k16 of its rows of both operands.
  struct Fragments {
    uint32_t x[kM][4];
    uint32_t weight[kN * 2 / kWide][kWide];
  };

  __device__ MmaTile() {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    first_token_ = warp / kWarpsN * kWarpTokens;
    first_row_ = warp % kWarpsN * kWarpRows;
    // Lane i has row i % 8 of matrix i / 8. Those of x: m8 and the next, then both at k + 8; those of the weight: n8 at
    // k and k + 8, then the next n8.
    const int low = lane % 16, high = lane / 16, mixed = lane % 8 + lane / 16 * 8, middle = lane / 8 % 2;
    x_offset_ = kX == Depth::kInRows ? XTile::offset(first_token_ + low, high)
                                     : XTile::offset(mixed, first_token_ / 8 + middle);
    weight_offset_ = kWeight == Depth::kInRows ? WeightTile::offset(first_row_ + mixed, middle)
                                               : WeightTile::offset(low, first_row_ / 8 + high);
  }

  /// Depth 16 step .. 16 step + 15 of both tiles.
  __device__ void load(Fragments& fragments, uint32_t x_tile, uint32_t weight_tile, int step) const {
#pragma unroll
    for (int m = 0; m < kM; ++m) load_block<XTile, kX>(fragments.x[m], x_tile, x_offset_, m, step);
#pragma unroll
    for (int n = 0; n < kN * 2 / kWide; ++n) {
      load_block<WeightTile, kWeight>(fragments.weight[n], weight_tile, weight_offset_, n, step);
    }
  }

  __device__ void multiply(const Fragments& fragments) {
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int n = 0; n < kN; ++n) {
        const uint32_t* weight = &fragments.weight[n * 2 / kWide][n * 2 % kWide];
        multiply_add(c_[m][n], fragments.x[m], weight[0], weight[1], T{});
      }
    }
  }

  /// A stage is done; there is nothing to do: see SimtTile.
  __device__ void end_stage(int) {}

  /// The token of the block's tile that row `row` of slab `slab` is.
  __device__ static int token_of(int slab, int row) { return row / 16 * kWarpTokens + slab * 16 + row % 16; }

  /// Writes the sums of slab `slab`, row m of accumulators of every warp, to `sums` [kSlabRows][stride].
  __device__ void store(uint32_t sums, int stride, int slab) const {
    const int lane = threadIdx.x % 32;
    const int row = first_token_ / kWarpTokens * 16 + lane / 4, column = first_row_ + lane % 4 * 2;
    const uint32_t to = sums + (row * stride + column) * sizeof(float);
    const uint32_t to_lower = to + 8 * stride * sizeof(float);
#pragma unroll
    for (int m = 0; m < kM; ++m) {
      if (m != slab) continue;  // registers have no index at run time
#pragma unroll
      for (int n = 0; n < kN; ++n) {
        store_shared(to + n * 8 * sizeof(float), make_float2(c_[m][n][0], c_[m][n][1]));
        store_shared(to_lower + n * 8 * sizeof(float), make_float2(c_[m][n][2], c_[m][n][3]));
      }
    }
  }

 private:
  /// Rows or columns 16 block .. 16 block + 15 of the warp, at a k16 of their depth. Two chunks on in a row is offset ^
  /// 32: the warp's own chunks, a power of two of them, begin at a multiple of as many.
  template <typename Tile, Depth kOperand, int kCount>
  __device__ static void load_block(uint32_t (&r)[kCount], uint32_t tile, uint32_t offset, int block, int step) {
    constexpr int kBlockBytes = 16 * Tile::kBytes;
    if constexpr (kOperand == Depth::kInRows) {
      load_matrices(r, tile + (offset ^ (step * 32)) + block * kBlockBytes);
    } else {
      load_matrices_transposed(r, tile + (offset ^ (block * 32)) + step * kBlockBytes);
    }
  }

  int first_token_, first_row_;        // of the warp, in the block's tile
  uint32_t x_offset_, weight_offset_;  // of the chunk whose address this lane gives to ldmatrix, at step 0
  float c_[kM][kN][4] = {};
};

}  // namespace albert_fast::cuda

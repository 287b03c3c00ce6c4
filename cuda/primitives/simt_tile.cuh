// The product of two tiles of floats, without tensor cores: for checking, so accuracy comes first. It has the
// interface of MmaTile.
//
// Warp w has tokens w, w + kWarps, ...; lane l has rows l, l + 32, ... of the weight. So one read of x serves all lanes
// of a warp, and the lanes read the same chunk of neighbouring rows of the weight (see SwizzledTile). If the depth is
// in the columns of x, warp w has kM neighbouring tokens instead, four to a chunk; in the columns of the weight, the
// lanes read 32 neighbours of one of its rows.
//
// Sums over k: chains of kBlockDepth multiply-adds, added up in order of k: one long chain rounds several times worse
// at K = 16384.
#pragma once

#include <cstdint>

#include "primitives/ptx.cuh"
#include "primitives/tile.cuh"

namespace albert_fast::cuda {

template <int kTokens, int kRows, int kDepth, int kWarps, Depth kX, Depth kWeight>
class SimtTile {
  static constexpr int kM = kTokens / kWarps, kN = kRows / 32;
  static constexpr int kBlockDepth = 128;  // at K = 16384 the two chains, of k and of blocks, are equally long
  static_assert(kTokens % kWarps == 0 && kWarps % 8 == 0 && kRows % 32 == 0 && kBlockDepth % kDepth == 0);
  static_assert(kX == Depth::kInRows || kM == 8, "two chunks, see load_x");
  using XTile = OperandTile<float, kTokens, kDepth, kX>;
  using WeightTile = OperandTile<float, kRows, kDepth, kWeight>;

 public:
  static constexpr int kSteps = kDepth / 4;
  static constexpr int kSlabs = 1;
  static constexpr int kSlabRows = kTokens;

  /// A depth of four of this thread's rows (or columns) of both operands.
  struct Fragments {
    float x[kM][4];
    float weight[kN][4];
  };

  __device__ SimtTile() {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    first_token_ = kX == Depth::kInRows ? warp : warp * kM;
    x_offset_ = kX == Depth::kInRows ? XTile::offset(warp, 0) : first_token_ * sizeof(float);
    weight_offset_ = kWeight == Depth::kInRows ? WeightTile::offset(lane, 0) : lane * sizeof(float);
  }

  /// Depth 4 step .. 4 step + 3 of both tiles.
  __device__ void load(Fragments& fragments, uint32_t x_tile, uint32_t weight_tile, int step) const {
    load_x(fragments, x_tile, step);
    load_weight(fragments, weight_tile, step);
  }

  __device__ void multiply(const Fragments& fragments) {
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int n = 0; n < kN; ++n) {
        const float (&a)[4] = fragments.x[m];
        const float (&b)[4] = fragments.weight[n];
        float& c = block_[m][n];
        c = fmaf(a[3], b[3], fmaf(a[2], b[2], fmaf(a[1], b[1], fmaf(a[0], b[0], c))));
      }
    }
  }

  /// Called after stage `stage`, counted from 0: adds a full block to the totals.
  __device__ void end_stage(int stage) {
    if ((stage + 1) * kDepth % kBlockDepth == 0) end_block();
  }

  __device__ static int token_of(int, int row) { return row; }

  /// Writes the sums to `sums` [kSlabRows][stride].
  __device__ void store(uint32_t sums, int stride, int) {
    end_block();
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int n = 0; n < kN; ++n) {
        const int row = first_token_ + m * kTokensApart, column = threadIdx.x % 32 + n * 32;
        store_shared(sums + (row * stride + column) * sizeof(float), total_[m][n]);
      }
    }
  }

 private:
  static constexpr int kTokensApart = kX == Depth::kInRows ? kWarps : 1;

  __device__ void load_x(Fragments& fragments, uint32_t tile, int step) const {
    if constexpr (kX == Depth::kInRows) {
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        load_shared(tile + (x_offset_ ^ (step * 16)) + m * kWarps * XTile::kBytes, fragments.x[m]);
      }
    } else {
#pragma unroll
      for (int i = 0; i < kM; ++i) {
        const int k = i / (kM / 4), m = i % (kM / 4) * 4;
        float tokens[4];  // m .. m + 3 at one k
        load_shared(tile + place<XTile>(4 * step + k, x_offset_ ^ (m * 4)), tokens);
#pragma unroll
        for (int j = 0; j < 4; ++j) fragments.x[m + j][k] = tokens[j];
      }
    }
  }

  __device__ void load_weight(Fragments& fragments, uint32_t tile, int step) const {
    if constexpr (kWeight == Depth::kInRows) {
#pragma unroll
      for (int n = 0; n < kN; ++n) {
        load_shared(tile + (weight_offset_ ^ (step * 16)) + n * 32 * WeightTile::kBytes, fragments.weight[n]);
      }
    } else {
#pragma unroll
      for (int i = 0; i < 4 * kN; ++i) {
        const int k = i / kN, n = i % kN;
        float row[1];  // 32 n + lane at one k
        load_shared(tile + place<WeightTile>(4 * step + k, weight_offset_) + n * 32 * sizeof(float), row);
        fragments.weight[n][k] = row[0];
      }
    }
  }

  /// Where byte `byte` of a row lies in a tile.
  template <typename Tile>
  __device__ static uint32_t place(int row, uint32_t byte) {
    return (byte ^ (Tile::offset(row, 0) % Tile::kBytes)) + row * Tile::kBytes;
  }

  __device__ void end_block() {
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int n = 0; n < kN; ++n) {
        total_[m][n] += block_[m][n];
        block_[m][n] = 0;
      }
    }
  }

  int first_token_;                    // of the warp, in the block's tile; the others are kTokensApart apart
  uint32_t x_offset_, weight_offset_;  // of its chunk of row `warp` or `lane`; or of its byte of any row
  float block_[kM][kN] = {};
  float total_[kM][kN] = {};
};

}  // namespace albert_fast::cuda

// The product of two tiles of floats, without tensor cores: for checking, so accuracy comes first. It has the
// interface of MmaTile.
//
// Warp w has tokens w, w + kWarps, ...; lane l has rows l, l + 32, ... of the weight. So one read of x serves all lanes
// of a warp, and the lanes read the same chunk of neighbouring rows of the weight (see SwizzledTile).
//
// Sums over k: chains of kBlockDepth multiply-adds, added up in order of k: one long chain rounds several times worse
// at K = 16384.
#pragma once

#include <cstdint>

#include "primitives/ptx.cuh"
#include "primitives/tile.cuh"

namespace albert_fast::cuda {

template <int kTokens, int kRows, int kDepth, int kWarps>
class SimtTile {
  static constexpr int kM = kTokens / kWarps, kN = kRows / 32;
  static constexpr int kBlockDepth = 128;  // at K = 16384 the two chains, of k and of blocks, are equally long
  static constexpr int kRowBytes = kDepth * sizeof(float);
  static_assert(kTokens % kWarps == 0 && kWarps % 8 == 0 && kRows % 32 == 0 && kBlockDepth % kDepth == 0);
  using Layout = SwizzledTile<kRowBytes>;

 public:
  static constexpr int kSteps = kDepth / 4;
  static constexpr int kSlabs = 1;
  static constexpr int kSlabRows = kTokens;

  /// Four columns, one chunk, of this thread's rows of both operands.
  struct Fragments {
    float4 x[kM];
    float4 weight[kN];
  };

  __device__ SimtTile() {
    x_offset_ = Layout::offset(threadIdx.x / 32, 0);
    weight_offset_ = Layout::offset(threadIdx.x % 32, 0);
  }

  /// Columns 4 step .. 4 step + 3 of both tiles.
  __device__ void load(Fragments& fragments, uint32_t x_tile, uint32_t weight_tile, int step) const {
    const uint32_t x = x_tile + (x_offset_ ^ (step * 16));
    const uint32_t weight = weight_tile + (weight_offset_ ^ (step * 16));
#pragma unroll
    for (int m = 0; m < kM; ++m) fragments.x[m] = load_shared(x + m * kWarps * kRowBytes);
#pragma unroll
    for (int n = 0; n < kN; ++n) fragments.weight[n] = load_shared(weight + n * 32 * kRowBytes);
  }

  __device__ void multiply(const Fragments& fragments) {
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int n = 0; n < kN; ++n) {
        const float4 a = fragments.x[m], b = fragments.weight[n];
        float& c = block_[m][n];
        c = fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, c))));
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
        const int row = threadIdx.x / 32 + m * kWarps, column = threadIdx.x % 32 + n * 32;
        store_shared(sums + (row * stride + column) * sizeof(float), total_[m][n]);
      }
    }
  }

 private:
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

  uint32_t x_offset_, weight_offset_;
  float block_[kM][kN] = {};
  float total_[kM][kN] = {};
};

}  // namespace albert_fast::cuda

// The gradient of attention for one warp without tensor cores: 8 rows of its own, others in tiles of 32, one to a lane,
// floats. It has the interface of MmaAttentionGrad, and the products of SimtAttention.
#pragma once

#include <cstdint>

#include "primitives/attention_grad_mma.cuh"
#include "primitives/attention_simt.cuh"

namespace albert_fast::cuda {

template <int kHeadDim, bool kOwnKeys, bool kDropout>
class SimtAttentionGrad {
  using Products = SimtProducts<kHeadDim>;

 public:
  static constexpr int kRows = Products::kRows;
  static constexpr int kOthers = Products::kOthers;

  __device__ SimtAttentionGrad(uint32_t first, uint32_t second, float scale)
      : first_(first), second_(second), scale_(scale) {}

  __device__ void load_own(const float* lse, const float* delta, int64_t stride, int num_rows) {
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      lse_[row] = row < num_rows ? lse[row * stride] : 0;
      delta_[row] = row < num_rows ? delta[row * stride] : 0;
    }
  }

  __device__ void add(const AttentionGradTile& tile, int num_others, const AttentionDropout& dropout) {
    const int other = threadIdx.x % 32;
    float p[kRows] = {}, ds[kRows] = {}, other_lse[1], other_delta[1];
    Products::add_scores(p, first_, tile.first);
    Products::add_scores(ds, second_, tile.second);
    if constexpr (kOwnKeys) {
      load_shared(tile.lse + other * sizeof(float), other_lse);
      load_shared(tile.delta + other * sizeof(float), other_delta);
    }
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      const float lse = kOwnKeys ? other_lse[0] : lse_[row], delta = kOwnKeys ? other_delta[0] : delta_[row];
      float factor = 1;
      if constexpr (kDropout) factor = kOwnKeys ? dropout.of(other, row) : dropout.of(row, other);
      const float weight = kOwnKeys || other < num_others ? expf(p[row] * scale_ - lse) : 0.0f;
      p[row] = weight * factor;
      ds[row] = weight * (ds[row] * factor - delta);
    }
    Products::add_weighted(first_sums_, ds, tile.first);
    if constexpr (kOwnKeys) Products::add_weighted(second_sums_, p, tile.second);
  }

  __device__ void store_first(float* to, int64_t stride, int num_rows) const {
    Products::store(first_sums_, to, stride, num_rows, [&](float x, int) { return x * scale_; });
  }

  __device__ void store_second(float* to, int64_t stride, int num_rows) const {
    Products::store(second_sums_, to, stride, num_rows, [](float x, int) { return x; });
  }

 private:
  uint32_t first_, second_;  // shared addresses of this warp's rows
  float scale_;
  float lse_[kRows] = {}, delta_[kRows] = {};
  float first_sums_[kRows][Products::kCols] = {};
  float second_sums_[kRows][Products::kCols] = {};
};

}  // namespace albert_fast::cuda

// Products of queries and keys, for attention and its gradient.
#pragma once

#include "cpu/primitives/block.h"
#include "cpu/primitives/tile.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

/// One chain of multiply-adds of a score; a head_dim above it adds up blocks. Shorter than kChainLength, because an
/// error of a score is a relative error of p, and short enough for vectors without fused multiply-adds.
inline constexpr int64_t kScoreDepth = 32;

/// scores[rows][keys rounded up to kPanel] = tile panels.
/// @param tile    [d][kTileRows]
/// @param panels  [keys / kPanel][d][kPanel], zeros behind the last key
inline void multiply_by_keys(int rows, const real* tile, const real* panels, int64_t d, int64_t keys, real* scores,
                             int64_t stride) {
  for (int64_t j = 0; j < keys; j += kPanel) {
    for (int64_t k = 0; k < d; k += kScoreDepth) {
      multiply_tile(rows, tile + k * kTileRows, panels + j * d + k * kPanel, min(kScoreDepth, d - k), scores + j,
                    stride, k == 0 ? Into::kOverwrite : Into::kAdd);
    }
  }
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

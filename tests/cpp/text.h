// Random texts as ragged batches.
#pragma once

#include <vector>

#include "attention_call.h"
#include "engine/batch.h"
#include "support.h"

namespace albert_fast::testing {

/// Sequences of these lengths; the text depends on `seed`.
struct Text {
  std::vector<int32_t> tokens, positions, types, cu_seqlens;

  Text(const std::vector<int32_t>& lengths, uint64_t seed) : cu_seqlens(offsets(lengths)) {
    Rng rng(seed);
    for (const int32_t length : lengths) {
      for (int32_t t = 0; t < length; ++t) {
        tokens.push_back(static_cast<int32_t>(rng() % 50));
        positions.push_back(t);
        types.push_back(2 * t >= length);
      }
    }
  }
  RaggedBatch batch() const {
    return {tokens.data(),     positions.data(),       types.data(),
            cu_seqlens.data(), int64_t(tokens.size()), int64_t(cu_seqlens.size()) - 1};
  }
};

}  // namespace albert_fast::testing

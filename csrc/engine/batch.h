// The one internal form of a batch: sequences laid end to end, no padding.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/config.h"

namespace albert_fast {

/// Borrowed arrays of T tokens and B sequences; host memory.
struct RaggedBatch {
  const int32_t* tokens;       // [T]
  const int32_t* positions;    // [T]
  const int32_t* token_types;  // [T]
  const int32_t* cu_seqlens;   // [B + 1]: sequence b is rows cu_seqlens[b] .. cu_seqlens[b + 1]
  int64_t num_tokens;          // T
  int64_t num_sequences;       // B

  /// Throws InvalidInputError naming the first entry that is out of range.
  void validate(const ModelConfig& config) const;
};

/// A batch on its way through the iterations: its hidden states' row ranges and each sequence's depth.
struct Progress {
  std::vector<int32_t> cu_seqlens;  // [B + 1]
  std::vector<int32_t> depths;      // [B], iterations done

  int64_t num_tokens() const { return cu_seqlens.back(); }
  int64_t num_sequences() const { return static_cast<int64_t>(depths.size()); }
  /// The length of the longest sequence, of all or of sequences first .. last.
  int64_t max_seqlen() const { return max_seqlen(0, num_sequences()); }
  int64_t max_seqlen(int64_t first, int64_t last) const;
};

/// Neighbouring sequences that the next iteration runs through the same group's weights.
struct Run {
  int64_t group;
  int64_t first;  // sequence
  int64_t last;   // one past
};

/// The next iteration's runs, in order; sequences that are done are in none.
std::vector<Run> next_runs(const ModelConfig& config, const Progress& progress);

}  // namespace albert_fast

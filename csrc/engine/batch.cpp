#include "engine/batch.h"

#include <algorithm>
#include <limits>
#include <string>

#include "kernels/errors.h"

namespace albert_fast {
namespace {

void check_range(const char* name, const int32_t* values, int64_t count, int64_t end) {
  for (int64_t t = 0; t < count; ++t) {
    if (values[t] >= 0 && values[t] < end) continue;
    throw InvalidInputError(std::string(name) + ": got " + std::to_string(values[t]) + " at index " +
                            std::to_string(t) + ", expected an integer in 0.." + std::to_string(end - 1));
  }
}

}  // namespace

void RaggedBatch::validate(const ModelConfig& config) const {
  if (num_tokens > std::numeric_limits<int32_t>::max()) {
    throw InvalidInputError("tokens: got " + std::to_string(num_tokens) + ", expected fewer than 2^31");
  }
  if (cu_seqlens[0] != 0 || cu_seqlens[num_sequences] != num_tokens) {
    throw InvalidInputError("cu_seqlens: got " + std::to_string(cu_seqlens[0]) + " .. " +
                            std::to_string(cu_seqlens[num_sequences]) + ", expected 0 .. the number of tokens, " +
                            std::to_string(num_tokens));
  }
  for (int64_t b = 0; b < num_sequences; ++b) {
    if (cu_seqlens[b] > cu_seqlens[b + 1]) {
      throw InvalidInputError("cu_seqlens: got " + std::to_string(cu_seqlens[b + 1]) + " at index " +
                              std::to_string(b + 1) + ", expected at least the entry before it, " +
                              std::to_string(cu_seqlens[b]));
    }
  }
  check_range("tokens", tokens, num_tokens, config.vocab_size);
  check_range("positions", positions, num_tokens, config.max_position_embeddings);
  check_range("token_types", token_types, num_tokens, config.type_vocab_size);
}

int64_t Progress::max_seqlen(int64_t first, int64_t last) const {
  int64_t longest = 0;
  for (int64_t b = first; b < last; ++b) longest = std::max<int64_t>(longest, cu_seqlens[b + 1] - cu_seqlens[b]);
  return longest;
}

std::vector<Run> next_runs(const ModelConfig& config, const Progress& progress) {
  std::vector<Run> runs;
  for (int64_t b = 0; b < progress.num_sequences(); ++b) {
    if (progress.depths[b] >= config.num_hidden_layers) continue;
    const int64_t group = config.group_of(progress.depths[b]);
    if (!runs.empty() && runs.back().group == group && runs.back().last == b) {
      runs.back().last = b + 1;
    } else {
      runs.push_back({group, b, b + 1});
    }
  }
  return runs;
}

}  // namespace albert_fast

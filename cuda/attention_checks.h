// What attention and its gradient ask of their arguments, and how many blocks they launch.
#pragma once

#include <climits>
#include <string>

#include "kernels/errors.h"
#include "kernels/types.h"
#include "matrix_checks.h"
#include "ops.h"

namespace albert_fast::cuda {

struct AttentionShape {
  int64_t num_tokens, num_sequences, max_seqlen, num_heads, head_dim;
};

/// Throws InvalidInputError, naming `op`, unless `holds`.
inline void require(const char* op, bool holds, const std::string& message) {
  if (!holds) throw InvalidInputError(std::string(op) + ": " + message);
}

/// Rows that can be read and written 16 bytes at a time.
inline void check_matrix(const char* op, const std::string& name, const ConstMatrix& m, int64_t rows, int64_t cols) {
  const auto shape = [](int64_t r, int64_t c) { return "[" + std::to_string(r) + ", " + std::to_string(c) + "]"; };
  require(op, m.rows == rows && m.cols == cols,
          name + ": got shape " + shape(m.rows, m.cols) + ", expected " + shape(rows, cols));
  require(op, m.stride >= cols && m.stride % kWidthMultiple == 0,
          name + ": got stride " + std::to_string(m.stride) + ", expected a multiple of " +
              std::to_string(kWidthMultiple) + " that is at least " + std::to_string(cols));
  check_aligned(name.c_str(), m.data);
}

inline void check_shape(const char* op, const AttentionShape& shape) {
  const auto got = [](const char* name, int64_t value) { return std::string(name) + ": got " + std::to_string(value); };
  require(op, takes_head_dim(shape.head_dim), got("head_dim", shape.head_dim) + ", expected 32, 64 or 128");
  require(op, shape.num_heads > 0, got("num_heads", shape.num_heads) + ", expected at least 1");
  require(op, shape.num_sequences >= 0, got("num_sequences", shape.num_sequences) + ", expected at least 0");
  require(op, shape.max_seqlen >= 0 && shape.max_seqlen <= INT_MAX,
          got("max_seqlen", shape.max_seqlen) + ", expected at least 0 and below 2^31");
}

/// Numbers of dropout's stream are counted in 2^16 keys to a query.
inline void check_dropout(const char* op, const Dropout& dropout, int64_t max_seqlen) {
  constexpr int64_t kMostKeys = 1 << 16;
  require(
      op, dropout.p == 0 || max_seqlen <= kMostKeys,
      "max_seqlen: got " + std::to_string(max_seqlen) + " with dropout, expected at most " + std::to_string(kMostKeys));
}

/// Of so many rows, in the longest sequence.
inline int64_t tiles_of(const AttentionShape& shape, int64_t rows) { return (shape.max_seqlen + rows - 1) / rows; }

/// One for each tile of each head of each sequence, all in x: y and z end at 65535.
inline unsigned blocks_of(const char* op, const AttentionShape& shape, int64_t num_tiles) {
  const int64_t num_blocks = num_tiles * shape.num_heads * shape.num_sequences;
  require(op, num_blocks <= INT_MAX,
          "num_sequences: got " + std::to_string(shape.num_sequences) + " of up to " +
              std::to_string(shape.max_seqlen) + " tokens, " + std::to_string(num_blocks) +
              " blocks, expected below 2^31 blocks");
  return static_cast<unsigned>(num_blocks);
}

}  // namespace albert_fast::cuda

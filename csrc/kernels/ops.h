// THE CONTRACT: every op of every backend, declared once. A backend is one Ops table per storage type.
//
// Names of sizes: T tokens of all sequences together, B sequences, H hidden_size, E embedding_size, N and K the
// rows and columns of a weight. Outputs never overlap inputs unless an op says so. All sums are fp32 (fp64 in a
// float64 table), in an order that depends on the sizes of the model and the instruction set alone, never on T, B
// or the number of threads: that is what makes a text's result independent of its batch, bit for bit.
#pragma once

#include "kernels/types.h"

namespace albert_fast {

/// out[t] = LayerNorm(word[tokens[t]] + token_type[token_types[t]] + position[positions[t]])
struct Embed {
  const int32_t* tokens;       // in  [T], each in [0, word.rows)
  const int32_t* positions;    // in  [T], each in [0, position.rows)
  const int32_t* token_types;  // in  [T], each in [0, token_type.rows)
  ConstMatrix word;            // in  [vocab_size, E]
  ConstMatrix position;        // in  [max_position_embeddings, E]
  ConstMatrix token_type;      // in  [type_vocab_size, E]
  const void* gamma;           // in  [E]
  const void* beta;            // in  [E]
  double eps;
  Matrix out;  // out [T, E]
};

/// y = activation(x W^T + bias) + residual
struct Linear {
  ConstMatrix x;               // in  [T, K]
  Weight weight;               // in  [N, K]
  const void* bias = nullptr;  // in  [N] or null
  Activation activation = Activation::kNone;
  ConstMatrix residual;  // in  [T, N]; data null: none
  Matrix y;              // out [T, N]
  Scratch scratch;       // linear_scratch(T, K) bytes
};

/// y = (x - mean(x)) / sqrt(var(x) + eps) * gamma + beta over each row; y may be x.
/// Ba et al. 2016, "Layer Normalization", eq. 4, with the biased variance.
struct LayerNorm {
  ConstMatrix x;      // in  [T, H]
  const void* gamma;  // in  [H]
  const void* beta;   // in  [H]
  double eps;
  Matrix y;  // out [T, H]
};

/// out = softmax(q k^T / sqrt(head_dim)) v within each sequence and head (Vaswani et al. 2017, eq. 1), computed with
/// the running maximum of Milakov & Gimelshein 2018, algorithm 3: no matrix of scores is ever stored.
struct Attention {
  ConstMatrix qkv;            // in  [T, 3 H]: queries, keys, values side by side, heads inside each
  const int32_t* cu_seqlens;  // in  [B + 1], sequence b is rows cu_seqlens[b] .. cu_seqlens[b + 1]
  int64_t num_sequences;      // B
  int64_t num_heads;
  int64_t head_dim;
  Matrix out;       // out [T, H]
  Scratch scratch;  // attention_scratch(longest sequence, head_dim) bytes
};

/// How a sequence's rows become one vector.
enum class Pooling {
  kMean,   // the mean of all its rows
  kFirst,  // its first row
};

/// out[b] = pooled rows of sequence b; zeros for an empty sequence.
struct Pool {
  ConstMatrix x;              // in  [T, H]
  const int32_t* cu_seqlens;  // in  [B + 1]
  Pooling pooling;
  Matrix out;  // out [B, H]
};

/// x[i] = x[i] / max(|x[i]|_2, 1e-12), in place, as torch.nn.functional.normalize does.
struct L2Normalize {
  Matrix x;  // inout [B, H]
};

/// A packed W[N, K] takes as much room as one with N rounded up to a multiple of this, in every backend, so that the
/// weight buffer's layout depends on the model alone.
inline constexpr int64_t kPackedRowMultiple = 32;

/// Rows first_row .. first_row + rows.rows of W[N, K] from their plain form into the packed weight buffer.
struct PackWeight {
  ConstMatrix rows;   // in  [n, K]
  int64_t first_row;  // row of W the first of them is
  int64_t num_rows;   // N
  void* packed;       // inout [round_up(N, kPackedRowMultiple), K], all of it the backend's own order
};

/// The way back: rows first_row .. first_row + rows.rows of W, out of the packed buffer.
struct UnpackWeight {
  const void* packed;  // in
  int64_t first_row;
  int64_t num_rows;  // N
  Matrix rows;       // out [n, K]
};

/// One backend for one storage type.
struct Ops {
  const char* name;  // "cpu/avx2"
  DType dtype;       // of every matrix, vector and weight above

  void* (*allocate)(size_t bytes);            // 64-byte aligned device memory; throws std::bad_alloc
  void (*release)(void* data, size_t bytes);  // never throws

  size_t (*linear_scratch)(int64_t rows, int64_t cols, Stream stream);
  size_t (*attention_scratch)(int64_t max_seqlen, int64_t head_dim, Stream stream);

  void (*embed)(const Embed&, Stream);
  void (*linear)(const Linear&, Stream);
  void (*layer_norm)(const LayerNorm&, Stream);
  void (*attention)(const Attention&, Stream);
  void (*pool)(const Pool&, Stream);
  void (*l2_normalize)(const L2Normalize&, Stream);
  void (*pack_weight)(const PackWeight&, Stream);
  void (*unpack_weight)(const UnpackWeight&, Stream);
};

}  // namespace albert_fast

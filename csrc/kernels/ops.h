// THE CONTRACT: every op of every backend, declared once. A backend is one Ops table per storage type.
//
// Names of sizes: T tokens of all sequences together, B sequences, H hidden_size, E embedding_size, N and K the
// rows and columns of a weight. Outputs never overlap inputs unless an op says so. All sums are fp32 (fp64 in a
// float64 table), in an order that depends on the sizes of the model and the instruction set alone, never on T, B
// or the number of threads: that is what makes a text's result independent of its batch, bit for bit.
//
// Two dtypes: `dtype` is that of everything stored, `sum_dtype` (fp32, or fp64 in a float64 table) that of what is
// still to be summed or is handed out: residual sums, pooled rows, logits. They differ where dtype has 16 bits.
// Packed weights may be of a third, `weight_dtype`, on a CPU: bfloat16 is read at half the bytes and widened, which is
// exact, on its way into a float32 product; int16 and int8 are multiplied as integers, and `linear` quantises x for it.
// Every pointer is memory of the table's device; sizes, and what says "host", are known to the host.
#pragma once

#include "kernels/training_ops.h"
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
  Matrix y;              // out [T, N], of y_dtype
  DType y_dtype;         // the table's dtype or its sum_dtype
  Scratch scratch;       // linear_scratch(T, K) bytes
};

/// y = (x - mean(x)) / sqrt(var(x) + eps) * gamma + beta over each row; y may be x if they are of one dtype.
/// Ba et al. 2016, "Layer Normalization", eq. 4, with the biased variance.
struct LayerNorm {
  ConstMatrix x;      // in  [T, H], of x_dtype
  DType x_dtype;      // the table's dtype or its sum_dtype
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
  int64_t max_seqlen;         // of the longest sequence, host
  int64_t num_heads;
  int64_t head_dim;
  Matrix out;       // out [T, H]
  Scratch scratch;  // attention_scratch(max_seqlen, head_dim) bytes

  // For training. Dropout takes numbers of softmax away (Vaswani et al. 2017, section 5.4): that of query row t, head h
  // and the key at place j of its sequence is number (t num_heads + h) 2^16 + j of the stream.
  void* lse = nullptr;  // out [T, num_heads], of sum_dtype, or null: log(sum(exp(scores))) over the keys
  Dropout dropout = {};
};

/// out[i] = x[rows[i]], or zeros where rows[i] is negative.
struct Gather {
  ConstMatrix x;        // in  [T, H]
  const int32_t* rows;  // in  [n], each below T
  Matrix out;           // out [n, H]
};

/// How a sequence's rows become one vector.
enum class Pooling {
  kMean,   // the mean of all its rows
  kFirst,  // its first row
  kEach,   // it does not: every row is its own vector, B = T, and cu_seqlens is not looked at
};

/// out[b] = pooled rows of sequence b; zeros for an empty sequence.
struct Pool {
  ConstMatrix x;              // in  [T, H]
  const int32_t* cu_seqlens;  // in  [B + 1]
  Pooling pooling;
  Matrix out;  // out [B, H], of sum_dtype
};

/// x[i] = x[i] / max(|x[i]|_2, 1e-12), in place, as torch.nn.functional.normalize does.
struct L2Normalize {
  Matrix x;  // inout [B, H], of sum_dtype
};

/// Numbers along k that share a scale in quantised weights.
inline constexpr int64_t kQuantGroup = 128;

/// A packed W[N, K] takes as much room as one of its weight_dtype with N rounded up to a multiple of this, in every
/// backend, so that the weight buffer's layout depends on the model alone.
inline constexpr int64_t kPackedRowMultiple = 32;

/// Bytes of a packed W[N, K]. Integers fill words of 32 bits along k; with each kQuantGroup of them goes a scale and,
/// for int8, the number its sums start from.
inline constexpr int64_t packed_bytes(DType stored, int64_t num_rows, int64_t cols) {
  const int64_t rows = (num_rows + kPackedRowMultiple - 1) / kPackedRowMultiple * kPackedRowMultiple;
  if (!is_quantized(stored)) return rows * cols * size_of(stored);
  const int64_t per_word = 4 / size_of(stored), groups = (cols + kQuantGroup - 1) / kQuantGroup;
  return rows * 4 * ((cols + per_word - 1) / per_word + groups * (stored == DType::kInt8 ? 2 : 1));
}

/// Rows first_row .. first_row + rows.rows of W[N, K] from their plain form into the packed weight buffer.
struct PackWeight {
  ConstMatrix rows;   // in  [n, K], of unpacked(weight_dtype)
  int64_t first_row;  // row of W the first of them is
  int64_t num_rows;   // N
  void* packed;       // inout [round_up(N, kPackedRowMultiple), K], all of it the backend's own order
};

/// The way back: rows first_row .. first_row + rows.rows of W, out of the packed buffer.
struct UnpackWeight {
  const void* packed;  // in
  int64_t first_row;
  int64_t num_rows;  // N
  Matrix rows;       // out [n, K], of unpacked(weight_dtype)
};

/// One backend for one storage type.
struct Ops {
  const char* name;  // "cpu/avx2", "cuda"
  Device device;
  DType dtype;             // of every matrix, vector and weight above that does not say otherwise
  DType sum_dtype;         // see the top
  DType weight_dtype;      // of packed weights; where weights are plain, the dtype
  WeightForm weight_form;  // in which `linear` wants the weights it multiplies by
  int64_t width_multiple;  // E, H, I and K have to be multiples of this
  int64_t widest_row;      // E and H are at most this
  bool (*takes_head_dim)(int64_t head_dim);

  // Memory of the device. Copies are ordered with the work of their stream.
  void* (*allocate)(size_t bytes);            // 64-byte aligned; throws std::bad_alloc, or DeviceError with the figures
  void (*release)(void* data, size_t bytes);  // never throws
  void (*upload)(void* to, const void* host, size_t bytes, Stream);      // `host` may be overwritten once it returns
  void (*download)(void* host, const void* from, size_t bytes, Stream);  // complete when it returns
  void (*copy)(void* to, const void* from, size_t bytes, Stream);        // both of the device

  size_t (*linear_scratch)(int64_t rows, int64_t cols, Stream stream);
  size_t (*attention_scratch)(int64_t max_seqlen, int64_t head_dim, Stream stream);

  void (*embed)(const Embed&, Stream);
  void (*linear)(const Linear&, Stream);
  void (*layer_norm)(const LayerNorm&, Stream);
  void (*attention)(const Attention&, Stream);
  void (*gather)(const Gather&, Stream);
  void (*pool)(const Pool&, Stream);
  void (*l2_normalize)(const L2Normalize&, Stream);
  void (*pack_weight)(const PackWeight&, Stream);      // null if weight_form is plain
  void (*unpack_weight)(const UnpackWeight&, Stream);  // the same

  // Training, kernels/training_ops.h.
  size_t (*linear_input_grad_scratch)(int64_t num_tokens, int64_t rows, int64_t cols, Stream stream);
  size_t (*linear_weight_grad_scratch)(int64_t num_tokens, int64_t rows, int64_t cols, Stream stream);
  size_t (*layer_norm_grad_scratch)(int64_t num_tokens, int64_t cols, Stream stream);
  size_t (*attention_grad_scratch)(int64_t num_tokens, int64_t max_seqlen, int64_t num_heads, int64_t head_dim,
                                   Stream stream);

  void (*activate)(const Activate&, Stream);
  void (*activate_grad)(const ActivateGrad&, Stream);
  void (*linear_input_grad)(const LinearInputGrad&, Stream);
  void (*linear_weight_grad)(const LinearWeightGrad&, Stream);
  void (*layer_norm_grad)(const LayerNormGrad&, Stream);
  void (*attention_grad)(const AttentionGrad&, Stream);
  void (*embed_grad)(const EmbedGrad&, Stream);
  void (*scatter_add)(const ScatterAdd&, Stream);
  void (*apply_dropout)(const ApplyDropout&, Stream);
  void (*cross_entropy)(const CrossEntropy&, Stream);
};

}  // namespace albert_fast

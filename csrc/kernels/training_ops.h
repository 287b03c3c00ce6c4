// The ops that training adds to the contract, in the terms of kernels/ops.h, which includes this file.
//
// d<name> is the gradient of the loss with respect to <name>. Gradients of activations are overwritten. Gradients of
// parameters are of sum_dtype and are summed over tokens: in ascending order, in blocks whose length is fixed, so that
// they have the same bits on any number of threads; `into` says whether they start here or are added to what is there.
// Weights are plain.
#pragma once

#include "kernels/types.h"

namespace albert_fast {

/// y = activation(x)
struct Activate {
  ConstMatrix x;  // in  [T, I]
  Activation activation;
  Matrix y;  // out [T, I]; may be x
};

/// dx = dy * activation'(x), and y = activation(x) again: one exp serves both.
struct ActivateGrad {
  ConstMatrix x;   // in  [T, I]
  ConstMatrix dy;  // in  [T, I]
  Activation activation;
  Matrix dx;  // out [T, I]; may be x
  Matrix y;   // out [T, I]; may be dy; data null: none
};

/// dx = dy W + residual, for y = x W^T
struct LinearInputGrad {
  ConstMatrix dy;        // in  [T, N]
  Weight weight;         // in  [N, K], plain
  ConstMatrix residual;  // in  [T, K]; data null: none; may be dx if that is of the table's dtype
  Matrix dx;             // out [T, K], of dx_dtype
  DType dx_dtype;        // the table's dtype or its sum_dtype
  Scratch scratch;       // linear_input_grad_scratch(T, N, K) bytes
};

/// dweight = dy^T x, dbias[n] = sum over t of dy[t][n]
struct LinearWeightGrad {
  ConstMatrix dy;         // in  [T, N]
  ConstMatrix x;          // in  [T, K]
  Matrix dweight;         // inout [N, K], of sum_dtype
  void* dbias = nullptr;  // inout [N], of sum_dtype, or null
  Into into = Into::kAdd;
  Scratch scratch;  // linear_weight_grad_scratch(T, N, K) bytes
};

/// With x^ = (x - mean) / sqrt(var + eps) and g = dy * gamma, over each row (Ba et al. 2016, differentiated):
/// dx = (g - mean(g) - x^ mean(g x^)) / sqrt(var + eps); dgamma = sum of dy x^, dbeta = sum of dy over rows.
struct LayerNormGrad {
  ConstMatrix x;      // in  [T, H], of x_dtype
  DType x_dtype;      // the table's dtype or its sum_dtype
  const void* gamma;  // in  [H]
  double eps;
  ConstMatrix dy;  // in  [T, H], of dy_dtype
  DType dy_dtype;  // the table's dtype or its sum_dtype
  Matrix dx;       // out [T, H]; may be x or dy if that is of the table's dtype
  void* dgamma;    // inout [H], of sum_dtype
  void* dbeta;     // inout [H], of sum_dtype
  Into into = Into::kAdd;
  Scratch scratch;  // layer_norm_grad_scratch(T, H) bytes
};

/// The gradient of `attention`, which left `out` and `lse`. P = exp(q k^T / sqrt(head_dim) - lse) is computed again,
/// and with it, M being the dropout mask over 1 - p (Dao 2023, "FlashAttention-2", section 3.1):
/// dv = (P M)^T dout, dS = P * (M * (dout v^T) - rowsum(dout * out)), dq = dS k / sqrt(head_dim),
/// dk = dS^T q / sqrt(head_dim).
struct AttentionGrad {
  ConstMatrix qkv;            // in  [T, 3 H]
  const int32_t* cu_seqlens;  // in  [B + 1]
  int64_t num_sequences;      // B
  int64_t max_seqlen;         // of the longest sequence, host
  int64_t num_heads;
  int64_t head_dim;
  ConstMatrix out;   // in  [T, H]
  const void* lse;   // in  [T, num_heads], of sum_dtype
  ConstMatrix dout;  // in  [T, H]
  Dropout dropout = {};
  Matrix dqkv;      // out [T, 3 H]
  Scratch scratch;  // attention_grad_scratch(T, max_seqlen, num_heads, head_dim) bytes
};

/// The gradient of `embed` with respect to the sum of its three rows, and to gamma and beta. The rows go on to the
/// three tables by `scatter_add`.
struct EmbedGrad {
  const int32_t* tokens;       // in  [T]
  const int32_t* positions;    // in  [T]
  const int32_t* token_types;  // in  [T]
  ConstMatrix word;            // in  [vocab_size, E]
  ConstMatrix position;        // in  [max_position_embeddings, E]
  ConstMatrix token_type;      // in  [type_vocab_size, E]
  const void* gamma;           // in  [E]
  double eps;
  ConstMatrix dy;  // in  [T, E]
  Matrix dsum;     // out [T, E], of sum_dtype
  void* dgamma;    // inout [E], of sum_dtype
  void* dbeta;     // inout [E], of sum_dtype
  Into into = Into::kAdd;
  Scratch scratch;  // layer_norm_grad_scratch(T, E) bytes
};

/// out[targets[i]] += the sum of x[order[starts[i]]] .. x[order[starts[i + 1] - 1]], in that order. Rows of x that go
/// to one target are neighbours in `order`: no two sums meet, whoever computes them.
struct ScatterAdd {
  ConstMatrix x;           // in  [T, E], of sum_dtype
  const int32_t* order;    // in  [T], a permutation of the rows of x
  const int32_t* starts;   // in  [n + 1]
  const int32_t* targets;  // in  [n], all different
  int64_t num_targets;     // n
  Matrix out;              // inout [V, E], of sum_dtype
};

/// y = x * mask / (1 - p) + residual; the same call on dy gives dx, since the mask comes from a counter, not from
/// memory.
struct ApplyDropout {
  ConstMatrix x;  // in  [T, H]; element (t, j) is number t H + j of the dropout's stream
  Dropout dropout = {};
  ConstMatrix residual;  // in  [T, H]; data null: none
  Matrix y;              // out [T, H], of y_dtype; may be x if that is the table's dtype
  DType y_dtype;         // the table's dtype or its sum_dtype
};

/// losses[i] = -log softmax(logits[i])[labels[i]], and the gradient of scale * sum(losses) with respect to the logits.
struct CrossEntropy {
  ConstMatrix logits;     // in  [n, V], of sum_dtype
  const int32_t* labels;  // in  [n], below V; a negative one leaves its row out: loss and gradient are 0
  double scale;
  void* losses;    // out [n], of sum_dtype
  Matrix dlogits;  // out [n, V]; may be logits if sum_dtype is the table's dtype
};

}  // namespace albert_fast

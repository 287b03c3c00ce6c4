// The ops of kernels/ops.h on CUDA, for T = float, __half and __nv_bfloat16. Each is in the .cu file of its name, which
// instantiates it; backend.cu makes the tables.
#pragma once

#include "kernels/ops.h"

namespace albert_fast::cuda {

/// E, H, I and K must be multiples of this, in elements: rows then begin at multiples of 16 bytes, which is what one
/// cp.async and one vector load move.
inline constexpr int64_t kWidthMultiple = 8;

/// E and H are at most this: LayerNorm, embeddings and l2_normalize keep a row in the registers of one block.
inline constexpr int64_t kWidestRow = 8192;

bool takes_head_dim(int64_t head_dim);

template <typename T>
void embed(const Embed& op, Stream stream);
template <typename T>
void linear(const Linear& op, Stream stream);
template <typename T>
void layer_norm(const LayerNorm& op, Stream stream);
template <typename T>
void attention(const Attention& op, Stream stream);
template <typename T>
void gather(const Gather& op, Stream stream);
template <typename T>
void pool(const Pool& op, Stream stream);
template <typename T>
void l2_normalize(const L2Normalize& op, Stream stream);
template <typename T>
void activate(const Activate& op, Stream stream);
template <typename T>
void activate_grad(const ActivateGrad& op, Stream stream);
size_t layer_norm_grad_scratch(int64_t num_tokens, int64_t cols, Stream stream);
template <typename T>
void layer_norm_grad(const LayerNormGrad& op, Stream stream);
template <typename T>
void apply_dropout(const ApplyDropout& op, Stream stream);
template <typename T>
void embed_grad(const EmbedGrad& op, Stream stream);
template <typename T>
void scatter_add(const ScatterAdd& op, Stream stream);
size_t attention_grad_scratch(int64_t num_tokens, int64_t max_seqlen, int64_t num_heads, int64_t head_dim,
                              Stream stream);
template <typename T>
void attention_grad(const AttentionGrad& op, Stream stream);
template <typename T>
void cross_entropy(const CrossEntropy& op, Stream stream);

template <typename T>
void linear_input_grad(const LinearInputGrad& op, Stream stream);
template <typename T>
void linear_weight_grad(const LinearWeightGrad& op, Stream stream);

}  // namespace albert_fast::cuda

// What one compiled variant of the CPU backend offers; each op lives in the file of its name.
#pragma once

#include "cpu/primitives/simd.h"
#include "kernels/ops.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

size_t linear_scratch(int64_t rows, int64_t cols, Stream stream);
size_t attention_scratch(int64_t max_seqlen, int64_t head_dim, Stream stream);

void embed(const Embed& op, Stream stream);
void linear(const Linear& op, Stream stream);
void layer_norm(const LayerNorm& op, Stream stream);
void attention(const Attention& op, Stream stream);
void gather(const Gather& op, Stream stream);
void pool(const Pool& op, Stream stream);
void l2_normalize(const L2Normalize& op, Stream stream);
void pack_weight(const PackWeight& op, Stream stream);
void unpack_weight(const UnpackWeight& op, Stream stream);

// Training.
size_t linear_input_grad_scratch(int64_t num_tokens, int64_t rows, int64_t cols, Stream stream);
size_t attention_grad_scratch(int64_t num_tokens, int64_t max_seqlen, int64_t num_heads, int64_t head_dim,
                              Stream stream);
size_t linear_weight_grad_scratch(int64_t num_tokens, int64_t rows, int64_t cols, Stream stream);
size_t layer_norm_grad_scratch(int64_t num_tokens, int64_t cols, Stream stream);
void activate(const Activate& op, Stream stream);
void activate_grad(const ActivateGrad& op, Stream stream);
void apply_dropout(const ApplyDropout& op, Stream stream);
void attention_grad(const AttentionGrad& op, Stream stream);
void cross_entropy(const CrossEntropy& op, Stream stream);
void embed_grad(const EmbedGrad& op, Stream stream);
void layer_norm_grad(const LayerNormGrad& op, Stream stream);
void linear_input_grad(const LinearInputGrad& op, Stream stream);
void linear_weight_grad(const LinearWeightGrad& op, Stream stream);
void scatter_add(const ScatterAdd& op, Stream stream);

// pack_weight and unpack_weight for weights of fewer bits; `linear` takes them all.
void pack_bfloat16_weight(const PackWeight& op, Stream stream);
void unpack_bfloat16_weight(const UnpackWeight& op, Stream stream);
void pack_int16_weight(const PackWeight& op, Stream stream);
void unpack_int16_weight(const UnpackWeight& op, Stream stream);
void pack_int8_weight(const PackWeight& op, Stream stream);
void unpack_int8_weight(const UnpackWeight& op, Stream stream);

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

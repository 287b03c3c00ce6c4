// The sum that embed and embed_grad normalise.
#pragma once

#include "cpu/primitives/simd.h"
#include "kernels/ops.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

/// sum[j] = word[tokens[t]][j] + token_type[token_types[t]][j] + position[positions[t]][j]; Op is Embed or EmbedGrad.
template <typename Op>
inline void add_embeddings(const Op& op, int64_t t, real* sum) {
  const real* word = op.word.template row<real>(op.tokens[t]);
  const real* type = op.token_type.template row<real>(op.token_types[t]);
  const real* position = op.position.template row<real>(op.positions[t]);
  for (int64_t j = 0; j < op.word.cols; ++j) sum[j] = word[j] + type[j] + position[j];
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

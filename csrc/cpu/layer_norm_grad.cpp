// dx[t] = (g - mean(g) - x^ mean(g x^)) / sqrt(var + eps) with g = dy gamma, one row [H] at a time, and dgamma[H] =
// sum of dy x^, dbeta[H] = sum of dy, in blocks of rows. Rows of dx do not know each other. x^ is computed again, by
// the code of layer_norm.
#include "cpu/primitives/normalize_grad.h"
#include "cpu/variant.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

size_t layer_norm_grad_scratch(int64_t num_tokens, int64_t cols, Stream) {
  return normalize_grad_scratch(num_tokens, cols);
}

void layer_norm_grad(const LayerNormGrad& op, Stream stream) {
  differentiate_normalized(op, *static_cast<Executor*>(stream.handle),
                           [&](int64_t t) { return NormalizedRow{op.x.row<real>(t), op.dx.row<real>(t)}; });
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

// dsum[t], the gradient of word[tokens[t]] + token_type[token_types[t]] + position[positions[t]], one row [E] at a
// time, and dgamma[E], dbeta[E] in blocks of rows, as in layer_norm_grad. The row of sums is formed again where its
// gradient goes.
#include "cpu/primitives/embedding.h"
#include "cpu/primitives/normalize_grad.h"
#include "cpu/variant.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

void embed_grad(const EmbedGrad& op, Stream stream) {
  differentiate_normalized(op, *static_cast<Executor*>(stream.handle), [&](int64_t t) {
    real* row = op.dsum.row<real>(t);
    add_embeddings(op, t, row);
    return NormalizedRow{row, row};
  });
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

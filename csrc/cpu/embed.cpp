// out[t] = LayerNorm(word[tokens[t]] + token_type[token_types[t]] + position[positions[t]]), one row [E] at a time.
#include "cpu/primitives/embedding.h"
#include "cpu/primitives/normalize.h"
#include "cpu/runtime/executor.h"
#include "cpu/variant.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

void embed(const Embed& op, Stream stream) {
  constexpr int64_t kTaskRows = 64;  // rows are short here (E = 128)
  auto& executor = *static_cast<Executor*>(stream.handle);
  executor.parallel_for(ceil_div(op.out.rows, kTaskRows), [&](int64_t task, int) {
    const int64_t end = min(op.out.rows, (task + 1) * kTaskRows);
    for (int64_t t = task * kTaskRows; t < end; ++t) {
      real* out = op.out.row<real>(t);
      add_embeddings(op, t, out);
      normalize_row(out, static_cast<const real*>(op.gamma), static_cast<const real*>(op.beta), real(op.eps),
                    op.out.cols, out);
    }
  });
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

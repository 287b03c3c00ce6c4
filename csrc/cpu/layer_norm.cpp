// y[t] = (x[t] - mean) / sqrt(var + eps) * gamma + beta, one row [H] at a time.
#include "cpu/primitives/normalize.h"
#include "cpu/runtime/executor.h"
#include "cpu/variant.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

void layer_norm(const LayerNorm& op, Stream stream) {
  constexpr int64_t kTaskRows = 16;  // 16 x 4096 floats take some 20 microseconds, far more than handing out a task
  auto& executor = *static_cast<Executor*>(stream.handle);
  executor.parallel_for(ceil_div(op.x.rows, kTaskRows), [&](int64_t task, int) {
    const int64_t end = min(op.x.rows, (task + 1) * kTaskRows);
    for (int64_t t = task * kTaskRows; t < end; ++t) {
      normalize_row(op.x.row<real>(t), static_cast<const real*>(op.gamma), static_cast<const real*>(op.beta),
                    real(op.eps), op.x.cols, op.y.row<real>(t));
    }
  });
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

// out[i] = x[rows[i]], or zeros where rows[i] is negative.
#include "cpu/primitives/block.h"
#include "cpu/runtime/executor.h"
#include "cpu/variant.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

void gather(const Gather& op, Stream stream) {
  constexpr int64_t kTaskRows = 16;  // 16 x 4096 floats are 256 KB, far more work than handing out a task
  auto& executor = *static_cast<Executor*>(stream.handle);
  executor.parallel_for(ceil_div(op.out.rows, kTaskRows), [&](int64_t task, int) {
    const int64_t end = min(op.out.rows, (task + 1) * kTaskRows);
    for (int64_t i = task * kTaskRows; i < end; ++i) {
      const int64_t row = op.rows[i];
      const real* x = row < 0 ? nullptr : op.x.row<real>(row);
      real* out = op.out.row<real>(i);
      for (int64_t j = 0; j < op.out.cols; ++j) out[j] = x == nullptr ? real(0) : x[j];
    }
  });
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

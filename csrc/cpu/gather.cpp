// out[i] = x[rows[i]], or zeros where rows[i] is negative.
#include "cpu/primitives/block.h"
#include "cpu/primitives/simd.h"
#include "cpu/runtime/executor.h"
#include "cpu/variant.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

void gather(const Gather& op, Stream stream) {
  constexpr int64_t kTaskRows = 16;  // as layer_norm's: some microseconds of work
  auto& executor = *static_cast<Executor*>(stream.handle);
  executor.parallel_for(ceil_div(op.out.rows, kTaskRows), [&](int64_t task, int) {
    const int64_t end = min(op.out.rows, (task + 1) * kTaskRows);
    for (int64_t i = task * kTaskRows; i < end; ++i) {
      real* out = op.out.row<real>(i);
      if (op.rows[i] < 0) {
        __builtin_memset(out, 0, op.out.cols * sizeof(real));
      } else {
        __builtin_memcpy(out, op.x.row<real>(op.rows[i]), op.out.cols * sizeof(real));
      }
    }
  });
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

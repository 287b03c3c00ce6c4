// out[targets[i]] += the sum of x[order[k]] for k in starts[i] .. starts[i + 1], rows of [E]. A row of out belongs to
// one task, which adds its rows of x in their order: in blocks of kSumRows, from the target's own first one on.
#include "cpu/primitives/rows.h"
#include "cpu/runtime/executor.h"
#include "cpu/variant.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

void scatter_add(const ScatterAdd& op, Stream stream) {
  // Most words come once or twice, which is less work than handing out a task; 16 of them are more.
  constexpr int64_t kTaskTargets = 16;
  auto& executor = *static_cast<Executor*>(stream.handle);
  executor.parallel_for(ceil_div(op.num_targets, kTaskTargets), [&](int64_t task, int) {
    const int64_t end = min(op.num_targets, (task + 1) * kTaskTargets);
    for (int64_t i = task * kTaskTargets; i < end; ++i) {
      real* out = op.out.row<real>(op.targets[i]);
      const auto row = [&](int64_t k) { return op.x.row<real>(op.order[k]); };
      sum_columns(op.starts[i], op.starts[i + 1], op.out.cols, row,
                  [&](int64_t j, auto access, vec total) { access.store(out + j, access.load(out + j) + total); });
    }
  });
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

// out[b] = the mean, or the first, of sequence b's rows; zeros if it has none. Or a copy, with every row on its own.
#include "cpu/primitives/rows.h"
#include "cpu/runtime/executor.h"
#include "cpu/variant.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

void pool(const Pool& op, Stream stream) {
  auto& executor = *static_cast<Executor*>(stream.handle);
  executor.parallel_for(op.out.rows, [&](int64_t sequence, int) {
    const bool each = op.pooling == Pooling::kEach;
    const int64_t begin = each ? sequence : op.cu_seqlens[sequence];
    int64_t end = each ? sequence + 1 : op.cu_seqlens[sequence + 1];
    real* out = op.out.row<real>(sequence);
    if (begin == end) {
      for (int64_t j = 0; j < op.out.cols; ++j) out[j] = 0;
      return;
    }
    if (op.pooling == Pooling::kFirst) end = begin + 1;
    const auto row = [&](int64_t t) { return op.x.row<real>(t); };
    const vec count = broadcast(real(end - begin));
    sum_columns(begin, end, op.out.cols, row,
                [&](int64_t j, auto access, vec total) { access.store(out + j, total / count); });
  });
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

// y = x * mask + residual, one row [H] at a time; element (t, j) is number t H + j of the dropout's stream.
#include "cpu/primitives/philox.h"
#include "cpu/primitives/rows.h"
#include "cpu/runtime/executor.h"
#include "cpu/variant.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {
namespace {

/// `first` is the number of x[0]; residual may be null.
void drop_row(const real* x, const real* residual, Dropout dropout, uint64_t first, int64_t n, real* y) {
  const auto mask_at = [&](int64_t j) {
    return dropout.p > 0 ? dropout_mask(dropout, first + uint64_t(j)) : broadcast(1);
  };
  each_vector(n, [&](int64_t j, auto access) {
    const vec kept = access.load(x + j) * mask_at(j);
    access.store(y + j, residual != nullptr ? kept + access.load(residual + j) : kept);
  });
}

}  // namespace

void apply_dropout(const ApplyDropout& op, Stream stream) {
  constexpr int64_t kTaskRows = 16;  // 16 x 4096 masks take some 50 microseconds, far more than handing out a task
  auto& executor = *static_cast<Executor*>(stream.handle);
  executor.parallel_for(ceil_div(op.x.rows, kTaskRows), [&](int64_t task, int) {
    const int64_t end = min(op.x.rows, (task + 1) * kTaskRows);
    for (int64_t t = task * kTaskRows; t < end; ++t) {
      const real* residual = op.residual.data == nullptr ? nullptr : op.residual.row<real>(t);
      drop_row(op.x.row<real>(t), residual, op.dropout, uint64_t(t * op.x.cols), op.x.cols, op.y.row<real>(t));
    }
  });
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

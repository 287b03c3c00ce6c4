// x[i] = x[i] / max(|x[i]|_2, 1e-12), one row [H] at a time.
#include "cpu/primitives/rows.h"
#include "cpu/runtime/executor.h"
#include "cpu/variant.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

void l2_normalize(const L2Normalize& op, Stream stream) {
  auto& executor = *static_cast<Executor*>(stream.handle);
  executor.parallel_for(op.x.rows, [&](int64_t i, int) {
    real* x = op.x.row<real>(i);
    const real norm = real(__builtin_sqrt(double(reduce_row(op.x.cols, [](vec v) { return v * v; }, x))));
    const real divisor = norm > real(1e-12) ? norm : real(1e-12);
    for (int64_t j = 0; j < op.x.cols; ++j) x[j] /= divisor;
  });
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

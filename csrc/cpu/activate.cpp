// activate: y = activation(x). activate_grad: dx = dy activation'(x), and y again. One row [I] at a time.
#include "cpu/primitives/math.h"
#include "cpu/primitives/rows.h"
#include "cpu/runtime/executor.h"
#include "cpu/variant.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {
namespace {

template <Activation kActivation>
void activate_row(const Activate& op, int64_t t) {
  const real* x = op.x.row<real>(t);
  real* y = op.y.row<real>(t);
  each_vector(op.x.cols,
              [&](int64_t j, auto access) { access.store(y + j, activate<kActivation>(access.load(x + j))); });
}

template <Activation kActivation>
void activate_row(const ActivateGrad& op, int64_t t) {
  const real *x = op.x.row<real>(t), *dy = op.dy.row<real>(t);
  real *dx = op.dx.row<real>(t), *y = op.y.data == nullptr ? nullptr : op.y.row<real>(t);
  each_vector(op.x.cols, [&](int64_t j, auto access) {
    const ValueAndSlope at = differentiate<kActivation>(access.load(x + j));
    access.store(dx + j, access.load(dy + j) * at.slope);  // dx may be x, which is not needed again
    if (y != nullptr) access.store(y + j, at.value);       // y may be dy, the same
  });
}

template <Activation kActivation, typename Op>
void activate_rows(const Op& op, Stream stream) {
  constexpr int64_t kTaskRows = 4;  // 4 x 16384 floats take some 50 microseconds, far more than handing out a task
  auto& executor = *static_cast<Executor*>(stream.handle);
  executor.parallel_for(ceil_div(op.x.rows, kTaskRows), [&](int64_t task, int) {
    const int64_t end = min(op.x.rows, (task + 1) * kTaskRows);
    for (int64_t t = task * kTaskRows; t < end; ++t) activate_row<kActivation>(op, t);
  });
}

/// Op is Activate or ActivateGrad.
template <typename Op>
void run(const Op& op, Stream stream) {
  switch (op.activation) {
    case Activation::kNone:
      return activate_rows<Activation::kNone>(op, stream);
    case Activation::kGeluTanh:
      return activate_rows<Activation::kGeluTanh>(op, stream);
    case Activation::kGeluErf:
      return activate_rows<Activation::kGeluErf>(op, stream);
    case Activation::kTanh:
      return activate_rows<Activation::kTanh>(op, stream);
  }
}

}  // namespace

void activate(const Activate& op, Stream stream) { run(op, stream); }
void activate_grad(const ActivateGrad& op, Stream stream) { run(op, stream); }

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

// losses[i] = log(sum(exp(x - max))) - (x[label] - max) and dlogits[i] = scale (softmax(x) - onehot(label)), with x =
// logits[i], one row [V] at a time. A negative label: zeros.
#include "cpu/primitives/math.h"
#include "cpu/primitives/rows.h"
#include "cpu/runtime/executor.h"
#include "cpu/variant.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {
namespace {

real maximum_of(const real* x, int64_t n) {
  vec top = broadcast(x[0]);
  int64_t j = 0;
  for (; j + kLanes <= n; j += kLanes) top = max(top, load(x + j));
  real maximum = max(top);
  for (; j < n; ++j) maximum = x[j] > maximum ? x[j] : maximum;
  return maximum;
}

/// Returns the loss; dx may be x.
real differentiate_row(const real* x, int64_t n, int64_t label, real scale, real* dx) {
  const real maximum = maximum_of(x, n);
  const double of_label = double(x[label]) - double(maximum);
  const vec shift = broadcast(maximum);
  each_vector(n, [&](int64_t j, auto access) { access.store(dx + j, exp(access.load(x + j) - shift)); });
  const real total = reduce_row(n, [](vec p) { return p; }, dx);
  const vec factor = broadcast(scale / total);
  each_vector(n, [&](int64_t j, auto access) { access.store(dx + j, access.load(dx + j) * factor); });
  dx[label] -= scale;
  return real(__builtin_log(double(total)) - of_label);
}

}  // namespace

void cross_entropy(const CrossEntropy& op, Stream stream) {
  const int64_t n = op.logits.cols;
  auto& executor = *static_cast<Executor*>(stream.handle);
  executor.parallel_for(op.logits.rows, [&](int64_t i, int) {
    real& loss = static_cast<real*>(op.losses)[i];
    real* dlogits = op.dlogits.row<real>(i);
    if (op.labels[i] >= 0) {
      loss = differentiate_row(op.logits.row<real>(i), n, op.labels[i], real(op.scale), dlogits);
      return;
    }
    loss = 0;
    for (int64_t j = 0; j < n; ++j) dlogits[j] = 0;
  });
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

// One linear with its weight, in either form.
#pragma once

#include <vector>

#include "support.h"

namespace albert_fast::testing {

/// W[N, K] in the backend's packed form, all of its padding poisoned before.
template <typename T>
Guarded<T> pack(const Ops& ops, const Tensor<T>& weight) {
  const int64_t padded = (weight.rows() + kPackedRowMultiple - 1) / kPackedRowMultiple * kPackedRowMultiple;
  Guarded<T> packed(padded * weight.cols());
  ops.pack_weight({weight.view(), 0, weight.rows(), packed.data()}, Stream{});
  return packed;
}

template <typename T>
struct LinearCall {
  const Ops& ops;
  const Tensor<T>& weight;
  const Tensor<T>* bias;
  Activation activation;
  const Tensor<T>* residual;  // for as many rows as x has

  /// y is overwritten; scratch is exactly as large as the op asks, poisoned and guarded.
  void run(WeightForm form, ConstMatrix x, Tensor<T>& y, int num_threads) const {
    const Guarded<T> packed = form == WeightForm::kPacked ? pack(ops, weight) : Guarded<T>(0);
    const T* data = form == WeightForm::kPacked ? packed.data() : weight.data();
    run({data, weight.rows(), weight.cols(), form}, x, y.view(), num_threads);
  }

  void run(Weight w, ConstMatrix x, Matrix y, int num_threads) const {
    Threads threads(num_threads);
    const size_t bytes = ops.linear_scratch(x.rows, x.cols, threads);
    Guarded<T> scratch(bytes / sizeof(T));
    ops.linear({x,
                w,
                bias == nullptr ? nullptr : bias->data(),
                activation,
                residual == nullptr ? ConstMatrix() : residual->view(),
                y,
                ops.dtype,
                {scratch.data(), bytes}},
               threads);
    CHECK(scratch.guards_intact());
  }
};

}  // namespace albert_fast::testing

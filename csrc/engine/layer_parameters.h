// The parameters of one layer in training: sixteen plain tensors that belong to somebody else, and one buffer of their
// gradients.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/types.h"

namespace albert_fast {

/// In the order in which callers hand them over; names as in checkpoints.
enum LayerTensor {
  kQueryWeight,
  kQueryBias,
  kKeyWeight,
  kKeyBias,
  kValueWeight,
  kValueBias,
  kDenseWeight,
  kDenseBias,
  kAttentionNormWeight,
  kAttentionNormBias,
  kFfnWeight,
  kFfnBias,
  kFfnOutputWeight,
  kFfnOutputBias,
  kOutputNormWeight,
  kOutputNormBias,
  kLayerTensors,
};

/// Plain weights [N, K] and vectors [N] of the table's dtype.
using LayerParameters = std::array<const void*, kLayerTensors>;

/// Where each tensor's gradient lies in a layer's gradient buffer, in elements of sum_dtype. The weights of query, key
/// and value follow each other, and so do their biases: they are the gradient of one product.
class GradientLayout {
 public:
  GradientLayout(int64_t hidden_size, int64_t intermediate_size);

  int64_t rows(LayerTensor tensor) const { return rows_[tensor]; }
  int64_t cols(LayerTensor tensor) const { return cols_[tensor]; }
  int64_t offset(LayerTensor tensor) const { return offsets_[tensor]; }
  int64_t size() const { return size_; }

 private:
  std::array<int64_t, kLayerTensors> rows_;
  std::array<int64_t, kLayerTensors> cols_;  // of a vector 1
  std::array<int64_t, kLayerTensors> offsets_;
  int64_t size_ = 0;
};

}  // namespace albert_fast

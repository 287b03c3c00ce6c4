#include "engine/layer_parameters.h"

namespace albert_fast {

GradientLayout::GradientLayout(int64_t hidden_size, int64_t intermediate_size) {
  rows_.fill(hidden_size);
  cols_.fill(1);
  for (const LayerTensor weight : {kQueryWeight, kKeyWeight, kValueWeight, kDenseWeight, kFfnWeight}) {
    cols_[weight] = hidden_size;
  }
  cols_[kFfnOutputWeight] = intermediate_size;
  rows_[kFfnWeight] = rows_[kFfnBias] = intermediate_size;

  for (const LayerTensor tensor : {kQueryWeight, kKeyWeight, kValueWeight, kQueryBias, kKeyBias, kValueBias,
                                   kDenseWeight, kDenseBias, kAttentionNormWeight, kAttentionNormBias, kFfnWeight,
                                   kFfnBias, kFfnOutputWeight, kFfnOutputBias, kOutputNormWeight, kOutputNormBias}) {
    offsets_[tensor] = size_;
    size_ += rows_[tensor] * cols_[tensor];
  }
}

}  // namespace albert_fast

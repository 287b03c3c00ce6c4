// A weight buffer with random weights.
#pragma once

#include <string>
#include <vector>

#include "engine/weights.h"
#include "support.h"

namespace albert_fast::testing {

/// Writes every tensor but `except`, a few rows at a time, and returns what it wrote, in the layout's order.
template <typename T>
std::vector<Tensor<T>> fill(WeightBuffer& buffer, uint64_t seed, const std::string& except = "") {
  Rng rng(seed);
  std::vector<Tensor<T>> written;
  for (const WeightTensor& tensor : buffer.layout().tensors()) {
    const int64_t rows = tensor.shape[0], cols = tensor.shape.size() == 2 ? tensor.shape[1] : 1;
    written.push_back(Tensor<T>(rows, cols, 1).fill(rng, 0.3));
    if (tensor.name == except) continue;
    for (int64_t first = 0; first < rows; first += 7) {
      buffer.write(tensor.name, first, written.back().view(first, std::min<int64_t>(7, rows - first)), Stream{});
    }
  }
  return written;
}

}  // namespace albert_fast::testing

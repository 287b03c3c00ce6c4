#include "bindings/py_ops.h"

#include <algorithm>

#include "kernels/errors.h"

namespace albert_fast::bindings {

double checked_probability(const char* name, double p) {
  if (p >= 0 && p < 1) return p;
  throw InvalidInputError(std::string(name) + ": got p = " + std::to_string(p) + ", expected at least 0 and below 1");
}

Dropout parse_dropout(const PyDropout& dropout) {
  if (!dropout) return {};
  const auto [p, seed, stream] = *dropout;
  return {checked_probability("dropout", p), seed, stream};
}

Activation parse_activation(const std::string& name) {
  if (name == "none") return Activation::kNone;
  if (name == "gelu_new") return Activation::kGeluTanh;
  if (name == "gelu") return Activation::kGeluErf;
  if (name == "tanh") return Activation::kTanh;
  throw InvalidInputError("activation: got '" + name + "', expected 'none', 'gelu_new', 'gelu' or 'tanh'");
}

const int32_t* checked_cu_seqlens(const py::array& cu_seqlens, int64_t rows) {
  const int64_t sequences = sequences_of(cu_seqlens);
  const int32_t* data = as_ints("cu_seqlens", cu_seqlens);
  bool valid = data[0] == 0 && data[sequences] == rows;
  for (int64_t b = 0; b < sequences; ++b) valid = valid && data[b] <= data[b + 1];
  if (!valid) {
    throw InvalidInputError("cu_seqlens: got entries that do not ascend from 0 to " + std::to_string(rows));
  }
  return data;
}

int64_t longest_of(const int32_t* cu_seqlens, int64_t num_sequences) {
  int64_t longest = 0;
  for (int64_t b = 0; b < num_sequences; ++b) longest = std::max<int64_t>(longest, cu_seqlens[b + 1] - cu_seqlens[b]);
  return longest;
}

const int32_t* checked_ints(const char* name, const py::array& array, int64_t size, int64_t low, int64_t high) {
  const int32_t* data = as_ints(name, array, size);
  for (int64_t i = 0; i < size; ++i) {
    if (data[i] >= low && data[i] < high) continue;
    throw InvalidInputError(std::string(name) + ": got " + std::to_string(data[i]) + " at index " + std::to_string(i) +
                            ", expected an integer in " + std::to_string(low) + ".." + std::to_string(high - 1));
  }
  return data;
}

}  // namespace albert_fast::bindings

// The ops of one backend as Python holds them, and what their calls share.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/backends.h"
#include "engine/device_buffer.h"
#include "kernels/ops.h"

namespace albert_fast::bindings {

using Threads = std::optional<int64_t>;

/// The ops of one backend and dtype, with scratch memory that lives as long.
class PyOps {
 public:
  PyOps(const std::string& isa, const std::string& dtype, const std::string& device)
      : ops(find_ops(device, isa, parse_dtype(dtype))), scratch_(ops), ints_(ops) {}

  const Ops& ops;

  /// Filled with NaN whenever it grows, so that an op that reads what it did not write shows it.
  Scratch scratch(size_t bytes, Stream stream) {
    if (bytes > scratch_.bytes()) {
      scratch_.reserve(bytes);
      const std::vector<char> poison(bytes, '\xff');
      ops.upload(scratch_.data(), poison.data(), bytes, stream);
    }
    return {scratch_.data(), bytes};
  }

  /// Host arrays of integers where the ops can read them, one after the other.
  std::vector<const int32_t*> upload(const std::vector<std::pair<const int32_t*, int64_t>>& arrays, Stream stream) {
    int64_t total = 0;
    for (const auto& [data, count] : arrays) total += count;
    ints_.reserve(total * sizeof(int32_t));
    auto* place = reinterpret_cast<int32_t*>(ints_.data());
    std::vector<const int32_t*> places;
    for (const auto& [data, count] : arrays) {
      ops.upload(place, data, count * sizeof(int32_t), stream);
      places.push_back(place);
      place += count;
    }
    return places;
  }

 private:
  DeviceBuffer scratch_;
  DeviceBuffer ints_;
};

/// p, if dropout can have it.
double checked_probability(const char* name, double p);

/// p, seed, stream; None: no dropout.
using PyDropout = std::optional<std::tuple<double, uint64_t, uint32_t>>;
Dropout parse_dropout(const PyDropout& dropout);

Activation parse_activation(const std::string& name);

/// cu_seqlens as ops take it, once its entries are known to lie in [0, rows] and to ascend.
const int32_t* checked_cu_seqlens(const py::array& cu_seqlens, int64_t rows);

/// The length of the longest sequence.
int64_t longest_of(const int32_t* cu_seqlens, int64_t num_sequences);

/// int32 [size], every entry in [low, high).
const int32_t* checked_ints(const char* name, const py::array& array, int64_t size, int64_t low, int64_t high);

/// Adds the ops of training.
void register_training_ops(py::class_<PyOps>& ops);

}  // namespace albert_fast::bindings

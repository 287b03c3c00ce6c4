// The arrays of one call as the contract's views: NumPy for the CPU, anything with DLPack for CUDA; with errors that
// name the argument.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "bindings/run.h"
#include "kernels/ops.h"

namespace albert_fast::bindings {

/// Memory of a call's device, checked against what the call expects. Keeps its owners alive.
class Arguments {
 public:
  Arguments(const Ops& ops, const How& how) : ops_(ops), how_(how) {}

  /// A C-contiguous [rows, cols]; a negative number takes any.
  Matrix matrix(const char* name, const py::object& array, DType dtype, int64_t rows = -1, int64_t cols = -1);
  Matrix matrix(const char* name, const py::object& array, int64_t rows = -1, int64_t cols = -1) {
    return matrix(name, array, ops_.dtype, rows, cols);
  }

  /// The same, to be written to: refuses what is read-only.
  Matrix output(const char* name, const py::object& array, DType dtype, int64_t rows = -1, int64_t cols = -1);
  Matrix output(const char* name, const py::object& array, int64_t rows = -1, int64_t cols = -1) {
    return output(name, array, ops_.dtype, rows, cols);
  }
  void* output_vector(const char* name, const py::object& array, DType dtype, int64_t size);

  /// A C-contiguous [size], of the table's dtype unless another is asked for.
  void* vector(const char* name, const py::object& array, DType dtype, int64_t size);
  const void* vector(const char* name, const py::object& array, int64_t size) {
    return vector(name, array, ops_.dtype, size);
  }

 private:
  struct Raw {
    void* data;
    std::string dtype;
    std::vector<int64_t> shape;
    bool contiguous;

    std::string describe() const;
  };
  Raw find(const char* name, const py::object& array);
  Raw on_host(const char* name, const py::object& object);
  Raw on_device(const char* name, const py::object& object);
  Raw checked(const char* name, const py::object& array, DType dtype, size_t num_dimensions);

  const Ops& ops_;
  How how_;
  std::vector<py::object> owners_;
};

/// Of which dtype an output array is: float32 or what `ops` stores.
DType output_dtype(const py::object& array, const Ops& ops);

}  // namespace albert_fast::bindings

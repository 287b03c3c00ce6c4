// NumPy arrays as the contract's views, with errors that name the argument.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>

#include "kernels/errors.h"
#include "kernels/types.h"

namespace albert_fast::bindings {

namespace py = pybind11;

inline py::dtype numpy_dtype(DType dtype) {
  return dtype == DType::kFloat64 ? py::dtype::of<double>() : py::dtype::of<float>();
}

inline DType parse_dtype(const std::string& name) {
  if (name == "float32") return DType::kFloat32;
  if (name == "float64") return DType::kFloat64;
  throw InvalidInputError("dtype: got '" + name + "', expected 'float32' or 'float64'");
}

inline std::string describe(const py::array& array) {
  std::string text = py::str(array.dtype()).cast<std::string>() + " [";
  for (py::ssize_t i = 0; i < array.ndim(); ++i) text += (i ? ", " : "") + std::to_string(array.shape(i));
  return text + "]";
}

/// Checks dtype, number of dimensions and C order; returns the array's data.
inline void* checked_data(const char* name, const py::array& array, const py::dtype& dtype, int ndim) {
  const bool contiguous = array.flags() & py::array::c_style;
  if (!array.dtype().equal(dtype) || array.ndim() != ndim || !contiguous) {
    throw InvalidInputError(std::string(name) + ": got " + describe(array) + (contiguous ? "" : " (not C-contiguous)") +
                            ", expected a C-contiguous " + py::str(dtype).cast<std::string>() + " array of " +
                            std::to_string(ndim) + " dimensions");
  }
  return const_cast<void*>(array.data());
}

/// A [rows, cols] array; cols < 0 takes any number of columns, rows < 0 any number of rows.
inline Matrix as_matrix(const char* name, const py::array& array, DType dtype, int64_t rows = -1, int64_t cols = -1) {
  void* data = checked_data(name, array, numpy_dtype(dtype), 2);
  const bool fits = (rows < 0 || array.shape(0) == rows) && (cols < 0 || array.shape(1) == cols);
  if (!fits) {
    const auto side = [](int64_t n) { return n < 0 ? std::string("any") : std::to_string(n); };
    throw InvalidInputError(std::string(name) + ": got " + describe(array) + ", expected shape [" + side(rows) + ", " +
                            side(cols) + "]");
  }
  return {data, array.shape(0), array.shape(1), array.shape(1)};
}

/// A [size] array.
inline void* as_vector(const char* name, const py::array& array, const py::dtype& dtype, int64_t size) {
  void* data = checked_data(name, array, dtype, 1);
  if (size >= 0 && array.shape(0) != size) {
    throw InvalidInputError(std::string(name) + ": got " + describe(array) + ", expected " + std::to_string(size) +
                            " entries");
  }
  return data;
}

inline const int32_t* as_ints(const char* name, const py::array& array, int64_t size = -1) {
  return static_cast<const int32_t*>(as_vector(name, array, py::dtype::of<int32_t>(), size));
}

/// B of an int32 array cu_seqlens[B + 1].
inline int64_t sequences_of(const py::array& cu_seqlens) {
  as_ints("cu_seqlens", cu_seqlens);
  if (cu_seqlens.shape(0) < 1) throw InvalidInputError("cu_seqlens: got no entries, expected B + 1 of them");
  return cu_seqlens.shape(0) - 1;
}

}  // namespace albert_fast::bindings

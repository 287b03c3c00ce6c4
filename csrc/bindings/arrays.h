// Names of dtypes, and the host arrays that describe a batch, with errors that name the argument.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>

#include "kernels/errors.h"
#include "kernels/types.h"

namespace albert_fast::bindings {

namespace py = pybind11;

inline DType parse_dtype(const std::string& name) {
  for (const DType dtype :
       {DType::kFloat32, DType::kFloat64, DType::kBFloat16, DType::kFloat16, DType::kInt16, DType::kInt8}) {
    if (name == name_of(dtype)) return dtype;
  }
  throw InvalidInputError("dtype: got '" + name +
                          "', expected 'float32', 'float64', 'bfloat16', 'float16', 'int16' or 'int8'");
}

/// Of a dtype that NumPy has: float32 or float64.
inline py::dtype numpy_dtype(DType dtype) {
  return dtype == DType::kFloat64 ? py::dtype::of<double>() : py::dtype::of<float>();
}

inline std::string describe(const py::array& array) {
  std::string text = py::str(array.dtype()).cast<std::string>() + " [";
  for (py::ssize_t i = 0; i < array.ndim(); ++i) text += (i ? ", " : "") + std::to_string(array.shape(i));
  return text + "]";
}

/// A C-contiguous int32 [size]; a negative size takes any.
inline const int32_t* as_ints(const char* name, const py::array& array, int64_t size = -1) {
  const bool contiguous = array.flags() & py::array::c_style;
  if (!array.dtype().equal(py::dtype::of<int32_t>()) || array.ndim() != 1 || !contiguous) {
    throw InvalidInputError(std::string(name) + ": got " + describe(array) + (contiguous ? "" : " (not C-contiguous)") +
                            ", expected a C-contiguous int32 array of 1 dimension");
  }
  if (size >= 0 && array.shape(0) != size) {
    throw InvalidInputError(std::string(name) + ": got " + describe(array) + ", expected " + std::to_string(size) +
                            " entries");
  }
  return static_cast<const int32_t*>(array.data());
}

/// B of an int32 array cu_seqlens[B + 1].
inline int64_t sequences_of(const py::array& cu_seqlens) {
  as_ints("cu_seqlens", cu_seqlens);
  if (cu_seqlens.shape(0) < 1) throw InvalidInputError("cu_seqlens: got no entries, expected B + 1 of them");
  return cu_seqlens.shape(0) - 1;
}

}  // namespace albert_fast::bindings

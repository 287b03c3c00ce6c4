#include "bindings/arguments.h"

#include "bindings/backends.h"
#include "bindings/device_array.h"
#include "bindings/dlpack.h"

namespace albert_fast::bindings {
namespace {

std::string name_of(DLDataType dtype) {
  if (dtype.code == kDLBfloat && dtype.bits == 16) return "bfloat16";
  const std::string kind = dtype.code == kDLFloat ? "float" : "integer";
  return kind + std::to_string(dtype.bits) + (dtype.lanes == 1 ? "" : "x" + std::to_string(dtype.lanes));
}

bool is_contiguous(const DLTensor& tensor) {
  if (tensor.strides == nullptr) return true;
  int64_t expected = 1;
  for (int32_t i = tensor.ndim - 1; i >= 0; --i) {
    if (tensor.shape[i] != 1 && tensor.strides[i] != expected) return false;
    expected *= tensor.shape[i];
  }
  return true;
}

std::string type_of(const py::object& object) { return py::str(py::type::of(object).attr("__name__")); }

/// What the object's __dlpack__ gives for a consumer on `stream`, a valid capsule of memory said to be `here`; `who`
/// begins what is thrown.
py::object exported(const std::string& who, const py::object& object, const std::string& here, uintptr_t stream) {
  py::object capsule;
  try {
    const auto [type, ordinal] = object.attr("__dlpack_device__")().cast<std::pair<int, int>>();
    const std::string there = type == kDLCUDA  ? "cuda:" + std::to_string(ordinal)
                              : type == kDLCPU ? "the CPU"
                                               : "DLPack's device type " + std::to_string(type);
    if (there != here) throw InvalidInputError(who + " in the memory of " + there + ", expected memory of " + here);
    // The array API's number for the default stream is 1.
    capsule = object.attr("__dlpack__")(py::arg("stream") = stream == 0 ? 1 : stream);
  } catch (const py::cast_error&) {
    throw InvalidInputError(who + " whose __dlpack_device__ gives no pair of integers, expected one");
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_Exception)) throw;  // an interrupt stays one
    throw InvalidInputError(who + " that DLPack cannot hand over (" + error.what() + "), expected memory of " + here);
  }
  if (PyCapsule_IsValid(capsule.ptr(), "dltensor")) return capsule;
  throw InvalidInputError(who + " whose __dlpack__ gives " + type_of(capsule) +
                          ", expected a capsule named 'dltensor'");
}

/// Writing to a read-only array changes what others hold to be constant, or, in a file's mapping, ends the process.
void require_writeable(const char* name, const py::object& object) {
  if (!py::isinstance<py::array>(object) || py::reinterpret_borrow<py::array>(object).writeable()) return;
  throw InvalidInputError(std::string(name) + ": got a read-only array, expected one that can be written to");
}

}  // namespace

std::string Arguments::Raw::describe() const {
  std::string text = dtype + " [";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]" + (contiguous ? "" : " (not C-contiguous)");
}

Arguments::Raw Arguments::on_host(const char* name, const py::object& object) {
  if (!py::isinstance<py::array>(object)) {
    throw InvalidInputError(std::string(name) + ": got " + type_of(object) + ", expected a NumPy array");
  }
  const auto array = py::reinterpret_borrow<py::array>(object);
  const bool contiguous = array.flags() & py::array::c_style;
  return {const_cast<void*>(array.data()),
          py::str(array.dtype()).cast<std::string>(),
          {array.shape(), array.shape() + array.ndim()},
          contiguous};
}

Arguments::Raw Arguments::on_device(const char* name, const py::object& object) {
  const std::string who = std::string(name) + ": got ";
  const std::string here = "cuda:" + std::to_string(cuda_backend().current_device());
  if (!py::hasattr(object, "__dlpack_device__") || py::isinstance<py::array>(object)) {
    throw InvalidInputError(who + type_of(object) + ", expected an array in the memory of " + here);
  }
  const py::object capsule = exported(who + type_of(object), object, here, how_.stream);
  const auto* managed = static_cast<const DLManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
  const DLTensor& tensor = managed->dl_tensor;
  owners_.push_back(capsule);  // not renamed, so that the capsule still owns the tensor
  Raw raw{static_cast<char*>(tensor.data) + tensor.byte_offset,
          name_of(tensor.dtype),
          {tensor.shape, tensor.shape + tensor.ndim},
          is_contiguous(tensor)};
  bool empty = false;
  for (const int64_t extent : raw.shape) empty |= extent == 0;
  if (!empty) cuda_backend().device_of(name, raw.data);
  return raw;
}

Arguments::Raw Arguments::find(const char* name, const py::object& array) {
  owners_.push_back(array);
  if (ops_.device == Device::kCpu) return on_host(name, array);
  Raw raw = on_device(name, array);
  if (py::isinstance<DeviceArray>(array)) array.cast<DeviceArray&>().hand_over(how_.cuda_stream());
  return raw;
}

Arguments::Raw Arguments::checked(const char* name, const py::object& array, DType dtype, size_t num_dimensions) {
  Raw raw = find(name, array);
  const int64_t element = size_of(dtype);
  if (reinterpret_cast<uintptr_t>(raw.data) % element != 0) {
    throw InvalidInputError(std::string(name) + ": got an address that is no multiple of " + std::to_string(element) +
                            ", the size of an element, expected one that is");
  }
  if (raw.dtype == albert_fast::name_of(dtype) && raw.shape.size() == num_dimensions && raw.contiguous) return raw;
  throw InvalidInputError(std::string(name) + ": got " + raw.describe() + ", expected a C-contiguous " +
                          albert_fast::name_of(dtype) + " array of " + std::to_string(num_dimensions) + " dimensions");
}

Matrix Arguments::matrix(const char* name, const py::object& array, DType dtype, int64_t rows, int64_t cols) {
  const Raw raw = checked(name, array, dtype, 2);
  const bool fits = (rows < 0 || raw.shape[0] == rows) && (cols < 0 || raw.shape[1] == cols);
  if (!fits) {
    const auto side = [](int64_t n) { return n < 0 ? std::string("any") : std::to_string(n); };
    throw InvalidInputError(std::string(name) + ": got " + raw.describe() + ", expected shape [" + side(rows) + ", " +
                            side(cols) + "]");
  }
  return {raw.data, raw.shape[0], raw.shape[1], raw.shape[1]};
}

void* Arguments::vector(const char* name, const py::object& array, DType dtype, int64_t size) {
  const Raw raw = checked(name, array, dtype, 1);
  if (raw.shape[0] != size) {
    throw InvalidInputError(std::string(name) + ": got " + raw.describe() + ", expected " + std::to_string(size) +
                            " entries");
  }
  return raw.data;
}

Matrix Arguments::output(const char* name, const py::object& array, DType dtype, int64_t rows, int64_t cols) {
  require_writeable(name, array);
  return matrix(name, array, dtype, rows, cols);
}

void* Arguments::output_vector(const char* name, const py::object& array, DType dtype, int64_t size) {
  require_writeable(name, array);
  return vector(name, array, dtype, size);
}

DType output_dtype(const py::object& array, const Ops& ops) {
  // "bfloat16", NumPy's "float32", torch's "torch.bfloat16"; what has no dtype is refused where its memory is asked
  // for.
  const std::string name = py::str(py::getattr(array, "dtype", py::none()));
  const bool stored =
      name == albert_fast::name_of(ops.dtype) || name == std::string("torch.") + albert_fast::name_of(ops.dtype);
  return stored ? ops.dtype : ops.sum_dtype;
}

}  // namespace albert_fast::bindings

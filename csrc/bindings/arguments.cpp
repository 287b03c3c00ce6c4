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
  const auto device = object.attr("__dlpack_device__")().cast<std::pair<int, int>>();
  if (device.first != kDLCUDA) {
    throw InvalidInputError(who + type_of(object) + " in the memory of the CPU, expected memory of " + here);
  }
  const std::string there = "cuda:" + std::to_string(device.second);
  if (there != here) throw InvalidInputError(who + "memory of " + there + ", expected memory of " + here);
  // The array API's number for the default stream is 1.
  const auto capsule = object.attr("__dlpack__")(py::arg("stream") = how_.stream == 0 ? 1 : how_.stream);
  auto* managed = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
  if (managed == nullptr) throw py::error_already_set();
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

const void* Arguments::vector(const char* name, const py::object& array, int64_t size) {
  const Raw raw = checked(name, array, ops_.dtype, 1);
  if (raw.shape[0] != size) {
    throw InvalidInputError(std::string(name) + ": got " + raw.describe() + ", expected " + std::to_string(size) +
                            " entries");
  }
  return raw.data;
}

DType output_dtype(const py::object& array, const Ops& ops) {
  const std::string name = py::str(array.attr("dtype"));  // "bfloat16", NumPy's "float32", torch's "torch.bfloat16"
  const bool stored =
      name == albert_fast::name_of(ops.dtype) || name == std::string("torch.") + albert_fast::name_of(ops.dtype);
  return stored ? ops.dtype : ops.sum_dtype;
}

}  // namespace albert_fast::bindings

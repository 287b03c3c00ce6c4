#include "bindings/device_array.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <tuple>
#include <utility>

#include "bindings/arrays.h"
#include "bindings/backends.h"
#include "bindings/dlpack.h"
#include "bindings/module.h"
#include "engine/convert.h"

namespace albert_fast::bindings {
namespace {

DLDataType dlpack_dtype(DType dtype) {
  const uint8_t bits = static_cast<uint8_t>(8 * size_of(dtype));
  return {dtype == DType::kBFloat16 ? kDLBfloat : kDLFloat, bits, 1};
}

/// What a capsule keeps alive until its consumer is done.
struct Exported {
  DLManagedTensor tensor;
  std::shared_ptr<DeviceBuffer> buffer;
  std::vector<int64_t> shape;
};

void delete_exported(DLManagedTensor* tensor) { delete static_cast<Exported*>(tensor->manager_ctx); }

/// Runs when the capsule goes; a consumer that took the tensor has renamed it and deletes it by itself.
void delete_capsule(PyObject* capsule) {
  if (!PyCapsule_IsValid(capsule, "dltensor")) return;
  auto* tensor = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, "dltensor"));
  tensor->deleter(tensor);
}

}  // namespace

DeviceArray::DeviceArray(const Ops& ops, std::vector<int64_t> shape)
    : ops_(&ops),
      shape_(std::move(shape)),
      ordinal_(cuda_backend().current_device()),
      buffer_(std::make_shared<DeviceBuffer>(ops)) {
  int64_t room = std::numeric_limits<int64_t>::max() / size_of(ops.dtype);  // elements
  for (const int64_t extent : shape_) {
    if (extent < 0) {
      throw InvalidInputError("shape: got " + std::to_string(extent) + ", expected extents of at least 0");
    }
    if (extent > room) throw InvalidInputError("shape: got more than 2^63 bytes, expected what an address can reach");
    room /= std::max<int64_t>(extent, 1);
  }
  buffer_->reserve(nbytes());
}

int64_t DeviceArray::size() const {
  return std::accumulate(shape_.begin(), shape_.end(), int64_t{1}, std::multiplies<>());
}

void DeviceArray::hand_over(Stream stream) {
  cuda_backend().order(stream_, stream);
  stream_ = stream;
}

DeviceArray DeviceArray::from_numpy(const Ops& ops, const py::array& array, Stream stream) {
  using Floats = py::array_t<float, py::array::c_style | py::array::forcecast>;
  const Floats values = Floats::ensure(array);
  if (!values) throw InvalidInputError("array: got " + describe(array) + ", expected numbers");
  DeviceArray result(ops, {values.shape(), values.shape() + values.ndim()});
  std::vector<char> stored(result.nbytes());
  std::ignore = to_stored(ops.dtype, values.data(), result.size(), stored.data());  // not finite is as good as any
  ops.upload(result.data(), stored.data(), stored.size(), stream);
  result.stream_ = stream;
  return result;
}

py::array DeviceArray::numpy() const {
  py::array_t<float> result(shape_);
  std::vector<char> stored(nbytes());
  {
    py::gil_scoped_release unlocked;
    ops_->download(stored.data(), data(), stored.size(), stream_);
  }
  from_stored(ops_->dtype, stored.data(), size(), result.mutable_data());
  return result;
}

py::capsule DeviceArray::dlpack(const py::object& stream, const py::object& dl_device, const py::object& copy) {
  const auto here = py::make_tuple(int{kDLCUDA}, ordinal_);
  if (!dl_device.is_none() && !dl_device.equal(here)) {
    throw py::buffer_error("dl_device: got another device than the array's");
  }
  if (!copy.is_none() && copy.cast<bool>()) throw py::buffer_error("copy: got True, expected False or None");
  // The array API's numbers for streams: 1 and None are the default stream, -1 asks for no ordering.
  const int64_t consumer = stream.is_none() ? 1 : stream.cast<int64_t>();
  if (consumer != -1) hand_over({reinterpret_cast<void*>(consumer == 1 ? 0 : consumer)});
  auto* exported = new Exported{{}, buffer_, shape_};
  exported->tensor = {{data(),
                       {kDLCUDA, ordinal_},
                       static_cast<int32_t>(shape_.size()),
                       dlpack_dtype(ops_->dtype),
                       exported->shape.data(),
                       nullptr,
                       0},
                      exported,
                      delete_exported};
  return py::reinterpret_steal<py::capsule>(PyCapsule_New(&exported->tensor, "dltensor", delete_capsule));
}

void register_device_array(py::module_& m) {
  const auto find = [](const std::string& dtype) -> const Ops& { return find_ops("cuda", "", parse_dtype(dtype)); };
  const auto stream = [](uintptr_t handle) { return Stream{reinterpret_cast<void*>(handle)}; };
  py::class_<DeviceArray>(m, "DeviceArray", "A C-contiguous array in CUDA memory, uninitialised when new; has DLPack.")
      .def(py::init([find](std::vector<int64_t> shape, const std::string& dtype) {
             return DeviceArray(find(dtype), std::move(shape));
           }),
           py::arg("shape"), py::arg("dtype") = "float32")
      .def_static(
          "from_numpy",
          [find, stream](const py::array& array, const std::string& dtype, uintptr_t handle) {
            return DeviceArray::from_numpy(find(dtype), array, stream(handle));
          },
          py::arg("array"), py::arg("dtype") = "float32", py::kw_only(), py::arg("stream") = 0,
          "A copy of `array`, rounded to `dtype`.")
      .def("numpy", &DeviceArray::numpy, "A copy in float32, once all work on the array is done.")
      .def_property_readonly("shape", [](const DeviceArray& a) { return py::tuple(py::cast(a.shape())); })
      .def_property_readonly("dtype", [](const DeviceArray& a) { return name_of(a.ops().dtype); })
      .def_property_readonly("nbytes", &DeviceArray::nbytes)
      .def_property_readonly("device", [](const DeviceArray& a) { return "cuda:" + std::to_string(a.ordinal()); })
      .def_property_readonly("data_ptr", [](const DeviceArray& a) { return reinterpret_cast<uintptr_t>(a.data()); })
      .def("__dlpack_device__", [](const DeviceArray& a) { return py::make_tuple(int{kDLCUDA}, a.ordinal()); })
      .def(
          "__dlpack__",
          [](DeviceArray& a, const py::object& s, const py::object&, const py::object& dl_device,
             const py::object& copy) { return a.dlpack(s, dl_device, copy); },
          py::kw_only(), py::arg("stream") = py::none(), py::arg("max_version") = py::none(),
          py::arg("dl_device") = py::none(), py::arg("copy") = py::none());
}

}  // namespace albert_fast::bindings

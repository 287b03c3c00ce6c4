// An array in device memory, for Python: what ops and models write to where there is no torch to own it.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <string>
#include <vector>

#include "bindings/run.h"
#include "engine/device_buffer.h"
#include "kernels/ops.h"

namespace albert_fast::bindings {

class DeviceArray {
 public:
  DeviceArray(const Ops& ops, std::vector<int64_t> shape);

  const Ops& ops() const { return *ops_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  int ordinal() const { return ordinal_; }
  void* data() const { return buffer_->data(); }
  int64_t size() const;
  size_t nbytes() const { return size() * size_of(ops_->dtype); }

  /// From now on the array is `stream`'s: work queued there comes after what its last stream did with it.
  void hand_over(Stream stream);

  /// Copies of a host array, and to one: float32 there, whatever the dtype here.
  static DeviceArray from_numpy(const Ops& ops, const py::array& array, Stream stream);
  py::array numpy() const;

  py::capsule dlpack(const py::object& stream, const py::object& dl_device, const py::object& copy);

 private:
  const Ops* ops_;
  std::vector<int64_t> shape_;
  int ordinal_;
  std::shared_ptr<DeviceBuffer> buffer_;
  Stream stream_;  // whose work may still be using it
};

}  // namespace albert_fast::bindings

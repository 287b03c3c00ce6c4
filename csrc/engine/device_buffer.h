// Memory of a backend, owned.
#pragma once

#include <utility>

#include "kernels/ops.h"

namespace albert_fast {

/// Allocated and released through an Ops table; movable.
class DeviceBuffer {
 public:
  explicit DeviceBuffer(const Ops& ops) : ops_(&ops) {}
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : ops_(other.ops_), data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(ops_, other.ops_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~DeviceBuffer() { release(); }

  char* data() const { return static_cast<char*>(data_); }
  size_t bytes() const { return bytes_; }

  /// At least `bytes`; contents are lost if it has to grow. Room is kept, so a loop allocates once.
  void reserve(size_t bytes) {
    if (bytes <= bytes_) return;
    release();
    data_ = ops_->allocate(bytes);
    bytes_ = bytes;
  }

 private:
  void release() {
    if (data_ != nullptr) ops_->release(data_, bytes_);
    data_ = nullptr;
    bytes_ = 0;
  }

  const Ops* ops_;
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace albert_fast

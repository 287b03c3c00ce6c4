// Cuts one block of memory into aligned pieces.
#pragma once

#include <cstddef>

#include "engine/device_buffer.h"
#include "kernels/types.h"

namespace albert_fast {

/// Hands out 64-byte aligned pieces of a block; with base null it only counts.
class Carver {
 public:
  explicit Carver(char* base) : base_(base) {}

  Matrix matrix(int64_t rows, int64_t cols, DType dtype) {
    return {piece(rows * cols * size_of(dtype)), rows, cols, cols};
  }
  Scratch scratch(size_t size) { return {piece(size), size}; }
  int32_t* ints(int64_t count) { return static_cast<int32_t*>(piece(count * sizeof(int32_t))); }

  size_t offset() const { return offset_; }
  void move_to(size_t offset) { offset_ = offset; }

 private:
  void* piece(size_t size) {
    char* data = base_ == nullptr ? nullptr : base_ + offset_;
    offset_ += (size + 63) / 64 * 64;
    return data;
  }

  char* base_;
  size_t offset_ = 0;
};

/// What `layout(Carver&)` carves out of the workspace; the workspace is made large enough first.
template <typename Layout>
auto carve(DeviceBuffer& workspace, const Layout& layout) {
  Carver counter(nullptr);
  layout(counter);
  workspace.reserve(counter.offset());
  Carver carver(workspace.data());
  return layout(carver);
}

}  // namespace albert_fast

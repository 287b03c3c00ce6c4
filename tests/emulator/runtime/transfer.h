// Copies and fills, as work for a stream.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "emulator/runtime/context.h"

namespace emulator::runtime {

/// `height` rows of `width` bytes, `pitch` bytes from one to the next.
struct Copy {
  void* to;
  size_t to_pitch;
  const void* from;
  size_t from_pitch;
  size_t width, height;
  cudaMemcpyKind kind;
};

enum class Wait { kYes, kNo };

/// Checks that both sides lie where `kind` says. With Wait::kNo, a copy from or to pinned memory reads and writes as
/// late as it may; pageable memory is read at once and written before the call returns, which is how drivers do it.
void copy(Device&, const Copy&, cudaStream_t, Wait);
void fill(Device&, void* to, int byte, size_t bytes, cudaStream_t, Wait);

}  // namespace emulator::runtime

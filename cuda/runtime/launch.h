// The one way a kernel is launched: on the caller's stream, with shared memory asked for, and checked.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "kernels/types.h"
#include "runtime/check.h"

namespace albert_fast::cuda {

struct LaunchShape {
  dim3 grid;
  dim3 block;
  size_t shared_bytes = 0;  // dynamic
};

inline cudaStream_t stream_of(Stream stream) { return static_cast<cudaStream_t>(stream.handle); }

/// Runs kernel(parameters) on the stream; an empty grid is no work. A kernel takes one struct of parameters, so that
/// the names at a launch are those in the kernel.
template <typename Parameters>
void launch(void (*kernel)(Parameters), const LaunchShape& shape, Stream stream, Parameters parameters) {
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;
  const auto* function = reinterpret_cast<const void*>(kernel);
  // What a kernel may use without asking. Kernels here have static or dynamic shared memory, never both.
  constexpr size_t kSharedByDefault = 48 << 10;
  if (shape.shared_bytes > kSharedByDefault) {
    check(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shape.shared_bytes)),
          "cudaFuncSetAttribute");
  }
  void* arguments[] = {&parameters};
  check(cudaLaunchKernel(function, shape.grid, shape.block, arguments, shape.shared_bytes, stream_of(stream)),
        "cudaLaunchKernel");
}

}  // namespace albert_fast::cuda

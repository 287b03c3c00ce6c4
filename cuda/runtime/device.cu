#include <cuda_runtime.h>

#include "runtime/device.h"

namespace albert_fast::cuda {

std::string unavailable_reason() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  cudaGetLastError();  // a failed query must not show up as the next call's error
  if (status != cudaSuccess) return cudaGetErrorString(status);
  return count > 0 ? "" : "no CUDA device";
}

}  // namespace albert_fast::cuda

#include "runtime/check.h"

#include <string>

#include "kernels/errors.h"

namespace albert_fast::cuda {

void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // or the next call that asks would take this error for its own
  throw DeviceError(std::string(call) + ": " + cudaGetErrorName(status) + ": " + cudaGetErrorString(status));
}

}  // namespace albert_fast::cuda

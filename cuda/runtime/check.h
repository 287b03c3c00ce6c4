// Every CUDA call's error code becomes an exception, and is forgotten by CUDA.
#pragma once

#include <cuda_runtime_api.h>

namespace albert_fast::cuda {

/// Throws DeviceError with the call's name and the runtime's own words if it failed.
void check(cudaError_t status, const char* call);

}  // namespace albert_fast::cuda

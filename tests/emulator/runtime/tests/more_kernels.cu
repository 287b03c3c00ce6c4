#include <cuda_runtime.h>

#include "kernels.h"

namespace {

__device__ int unit = 2;

__global__ void unit_kernel(int* out) { *out = unit; }

}  // namespace

cudaError_t which_unit_2(int* out) {
  unit_kernel<<<1, 1>>>(out);
  return cudaGetLastError();
}

cudaError_t add_three_2(int* out) {
  add_constant<3><<<1, 1>>>(out);
  return cudaGetLastError();
}

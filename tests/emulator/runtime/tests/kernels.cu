#include <cuda_runtime.h>

#include "kernels.h"

namespace {

__constant__ float coefficients[2];
__device__ int counter = 40;
__device__ int unit = 1;

__global__ void saxpy_kernel(float a, const float* x, float* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] += a * x[i];
}

__global__ void reverse_kernel(const float* in, float* out) {
  extern __shared__ float run[];
  __shared__ float index;
  if (threadIdx.x == 0) index = blockIdx.x;
  run[threadIdx.x] = in[blockIdx.x * blockDim.x + threadIdx.x];
  __syncthreads();
  out[blockIdx.x * blockDim.x + threadIdx.x] = run[blockDim.x - 1 - threadIdx.x] + index;
}

__global__ void line_kernel(char n, Line line, short extra) {
  const int i = threadIdx.x;
  if (i < n) line.out[i] = line.sign * line.scale * line.step * i + line.shift + extra;
}

__global__ void evaluate_kernel(float* out) { out[threadIdx.x] = coefficients[0] + coefficients[1] * threadIdx.x; }

__global__ void counter_kernel() { counter += 1; }

__global__ void unit_kernel(int* out) { *out = unit; }

__global__ void __launch_bounds__(64) bounded_kernel(float* out, float by) { out[threadIdx.x] += by; }

__global__ void read_kernel(const char* in, long long bytes, float* out) {
  *out = *reinterpret_cast<const float*>(in + bytes);
}

__global__ void race_kernel(float* out) {
  __shared__ float word;
  if (threadIdx.x % 32 == 0) word = threadIdx.x;
  __syncthreads();
  *out = word;
}

}  // namespace

cudaError_t saxpy(float a, const float* x, float* y, int n, cudaStream_t stream) {
  saxpy_kernel<<<(n + 127) / 128, 128, 0, stream>>>(a, x, y, n);
  return cudaGetLastError();
}

cudaError_t reverse_runs(const float* in, float* out, int runs, int threads, size_t shared_bytes) {
  reverse_kernel<<<runs, threads, shared_bytes>>>(in, out);
  return cudaGetLastError();
}

const void* reverse_runs_kernel() { return reinterpret_cast<const void*>(reverse_kernel); }

cudaError_t draw_line(char n, Line line, short extra) {
  line_kernel<<<1, 32>>>(n, line, extra);
  return cudaGetLastError();
}

cudaError_t evaluate(float* out, int n) {
  evaluate_kernel<<<1, n>>>(out);
  return cudaGetLastError();
}

cudaError_t set_coefficients(const float (&c)[2]) { return cudaMemcpyToSymbol(coefficients, c, sizeof c); }

cudaError_t bump_counter() {
  counter_kernel<<<1, 1>>>();
  return cudaGetLastError();
}

cudaError_t read_counter(int* value) { return cudaMemcpyFromSymbol(value, counter, sizeof *value); }

cudaError_t which_unit_1(int* out) {
  unit_kernel<<<1, 1>>>(out);
  return cudaGetLastError();
}

cudaError_t add_within_bounds(float* out, float by, int n, cudaStream_t stream) {
  bounded_kernel<<<1, n, 0, stream>>>(out, by);
  return cudaGetLastError();
}

cudaError_t read_behind(const float* in, long long bytes, float* out, cudaStream_t stream) {
  read_kernel<<<1, 1, 0, stream>>>(reinterpret_cast<const char*>(in), bytes, out);
  return cudaGetLastError();
}

cudaError_t race(float* out) {
  race_kernel<<<1, 64>>>(out);
  return cudaGetLastError();
}

cudaError_t add_three_1(int* out) {
  add_constant<3><<<1, 1>>>(out);
  return cudaGetLastError();
}

// Kernels that put the emulated runtime to the test, each behind a launcher in plain C++.
#pragma once

#include <cuda_runtime_api.h>

/// y[i] += a * x[i], i < n
cudaError_t saxpy(float a, const float* x, float* y, int n, cudaStream_t stream = nullptr);

/// Reverses each run of `threads` floats, through dynamic shared memory of `shared_bytes`, and adds what a static
/// shared variable holds: the index of the run.
cudaError_t reverse_runs(const float* in, float* out, int runs, int threads, size_t shared_bytes);
const void* reverse_runs_kernel();

/// Its members leave holes, so that a parameter block laid out wrongly shows.
struct Line {
  char sign;  // 1 or -1
  float scale;
  short step;
  long long shift;
  float* out;
};

/// out[i] = sign * scale * step * i + shift + extra, i < n
cudaError_t draw_line(char n, Line line, short extra);

/// out[i] = c0 + c1 * i, with c in constant memory
cudaError_t evaluate(float* out, int n);
cudaError_t set_coefficients(const float (&c)[2]);

/// Adds 1 to a __device__ variable that starts as 40, and gives it back.
cudaError_t bump_counter();
cudaError_t read_counter(int* value);

/// out[0] = the number of the translation unit; both define a kernel and a variable of the same name.
cudaError_t which_unit_1(int* out);
cudaError_t which_unit_2(int* out);

/// out[i] += by, i < n: one block of n threads, with launch bounds of 64.
cudaError_t add_within_bounds(float* out, float by, int n, cudaStream_t stream = nullptr);

/// Reads one float, `bytes` behind `in`, and writes it to `out`.
cudaError_t read_behind(const float* in, long long bytes, float* out, cudaStream_t stream = nullptr);

/// Two warps write different values to one word of shared memory, with no barrier between them.
cudaError_t race(float* out);

#ifdef __CUDACC__
template <int N>
__global__ void add_constant(int* out) {
  *out += N;
}
#endif

/// *out += 3, by an instance of a template that both translation units make.
cudaError_t add_three_1(int* out);
cudaError_t add_three_2(int* out);

// Kernels of everyday CUDA, compiled by nvcc to PTX for the emulator's tests.

// y[i] = a * x[i] + y[i], i < n
extern "C" __global__ void saxpy(int n, float a, const float* __restrict__ x, float* __restrict__ y) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = a * x[i] + y[i];
}

// sums[b] = sum of x over the rows of block b; blocks of 256 threads: shuffles within warps, shared memory between
// them.
extern "C" __global__ void block_sum(int n, const float* __restrict__ x, float* __restrict__ sums) {
  __shared__ float partial[8];
  float sum = 0.f;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum += x[i];
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(~0u, sum, offset);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x < 32) {
    sum = threadIdx.x < 8 ? partial[threadIdx.x] : 0.f;
    for (int offset = 4; offset > 0; offset /= 2) sum += __shfl_xor_sync(~0u, sum, offset);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
  }
}

// c[m][n] = sum over k of a[m][k] * b[k][n]; tiles of 16 x 16, one thread for each element; sizes need not divide.
extern "C" __global__ void tiled_gemm(int M, int N, int K, const float* a, const float* b, float* c) {
  __shared__ float a_tile[16][16], b_tile[16][17];
  const int row = blockIdx.y * 16 + threadIdx.y, column = blockIdx.x * 16 + threadIdx.x;
  float sum = 0.f;
  for (int k = 0; k < K; k += 16) {
    a_tile[threadIdx.y][threadIdx.x] = row < M && k + threadIdx.x < K ? a[row * K + k + threadIdx.x] : 0.f;
    b_tile[threadIdx.y][threadIdx.x] = column < N && k + threadIdx.y < K ? b[(k + threadIdx.y) * N + column] : 0.f;
    __syncthreads();
    for (int i = 0; i < 16; ++i) sum += a_tile[threadIdx.y][i] * b_tile[i][threadIdx.x];
    __syncthreads();
  }
  if (row < M && column < N) c[row * N + column] = sum;
}

// y[i] = f(x[i]) for the functions of the standard library that transformer layers use, in y[0..7][n].
extern "C" __global__ void functions(int n, const float* x, float* y) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const float v = x[i];
  y[i] = expf(v);
  y[n + i] = tanhf(v);
  y[2 * n + i] = erff(v);
  y[3 * n + i] = logf(fabsf(v));
  y[4 * n + i] = rsqrtf(fabsf(v));
  y[5 * n + i] = 1.f / v;
  y[6 * n + i] = sqrtf(fabsf(v));
  y[7 * n + i] = sinf(v);
}

// Threads leave a loop at different times, call a function that is not inlined, and meet again.
__device__ __noinline__ int collatz_step(int v) { return v % 2 ? 3 * v + 1 : v / 2; }
extern "C" __global__ void collatz(int n, int* steps) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  int v = i + 1, count = 0;
  while (v != 1) {
    v = collatz_step(v);
    ++count;
  }
  steps[i] = count;
}

// histogram of x mod 64, through atomics on shared memory, then on global memory.
extern "C" __global__ void histogram(int n, const int* x, int* counts) {
  extern __shared__ int local_counts[];
  for (int i = threadIdx.x; i < 64; i += blockDim.x) local_counts[i] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
    atomicAdd(&local_counts[x[i] & 63], 1);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < 64; i += blockDim.x) atomicAdd(&counts[i], local_counts[i]);
}

// A table in constant memory, an array that needs local memory, a module variable, a struct passed by value.
struct Affine {
  float scale, shift[3];
};
__constant__ float table[4] = {1.f, 2.f, 4.f, 8.f};
__device__ int calls = 40;
extern "C" __global__ void memory_spaces(Affine affine, const int* index, float* y) {
  float scratch[16];
  for (int i = 0; i < 16; ++i) scratch[i] = affine.scale * i + affine.shift[i % 3];
  for (int i = 0; i < 4; ++i) scratch[index[threadIdx.x + i]] *= table[index[i] & 3];
  y[threadIdx.x] = scratch[index[threadIdx.x]];
  atomicAdd(&calls, 1);
}

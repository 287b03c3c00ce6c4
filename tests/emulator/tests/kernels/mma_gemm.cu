// C[M][N] = A[M][K] * B[N][K]^T in bf16 with fp32 accumulation: cp.async, ldmatrix, mma.sync.
//
// A block of 4 warps makes a tile of 64 x 64, each warp 32 x 32 = (2 x m16) x (4 x n8). Tiles of A and B, 64 rows of
// 32 values of k (64 bytes, four chunks of 16), pass through kStages buffers. Chunk c of row r lies at place
// c ^ (r / 2 % 4) of the row, so that the eight rows that one phase of ldmatrix reads lie in different banks.
// Rows at or beyond M and N are filled with zeros; K must be a multiple of 32.
#include <cuda_bf16.h>

#include <cstdint>

constexpr int kStages = 3, kTileK = 32, kTile = 64;
constexpr int kTileBytes = kTile * kTileK * 2;

__device__ uint32_t place(int row, int chunk) { return row * 64 + ((chunk ^ (row / 2 % 4)) * 16); }

__device__ void copy_async(uint32_t shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(valid ? 16 : 0)
               : "memory");
}

__device__ void load_matrices(uint32_t (&r)[4], uint32_t shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared)
               : "memory");
}

__device__ void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Copies rows [first, first + 64) x columns [k, k + 32) of a [rows][K] matrix: 256 chunks, two for each thread.
__device__ void load_tile(uint32_t shared, const __nv_bfloat16* matrix, int first, int rows, int K, int k) {
  for (int i = threadIdx.x; i < 256; i += 128) {
    const int row = i / 4, chunk = i % 4;
    const bool valid = first + row < rows;
    copy_async(shared + place(row, chunk), matrix + (size_t)(valid ? first + row : 0) * K + k + chunk * 8, valid);
  }
}

extern "C" __global__ void __launch_bounds__(128)
    mma_gemm(int M, int N, int K, const __nv_bfloat16* A, const __nv_bfloat16* B, float* C) {
  extern __shared__ __align__(128) unsigned char buffers[];  // [kStages][A, B][kTileBytes]
  const uint32_t shared = static_cast<uint32_t>(__cvta_generic_to_shared(buffers));
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int block_m = blockIdx.y * kTile, block_n = blockIdx.x * kTile;
  const int warp_m = warp / 2 * 32, warp_n = warp % 2 * 32;
  const int steps = K / kTileK;

  const auto load_step = [&](int step) {
    if (step < steps) {
      const uint32_t to = shared + step % kStages * 2 * kTileBytes;
      load_tile(to, A, block_m, M, K, step * kTileK);
      load_tile(to + kTileBytes, B, block_n, N, K, step * kTileK);
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
  };

  float c[2][4][4] = {};
  for (int step = 0; step < kStages - 1; ++step) load_step(step);
  for (int step = 0; step < steps; ++step) {
    asm volatile("cp.async.wait_group %0;" ::"n"(kStages - 2) : "memory");
    __syncthreads();  // this step's tiles have landed for all; the buffer of the step before is read to its end
    load_step(step + kStages - 1);
    const uint32_t a_tile = shared + step % kStages * 2 * kTileBytes, b_tile = a_tile + kTileBytes;
    for (int k = 0; k < kTileK / 16; ++k) {
      uint32_t a[2][4], b[2][4];
      for (int m = 0; m < 2; ++m) load_matrices(a[m], a_tile + place(warp_m + m * 16 + lane % 16, k * 2 + lane / 16));
      for (int n = 0; n < 2; ++n) {  // sixteen rows of B: n8 x k16 twice
        load_matrices(b[n], b_tile + place(warp_n + n * 16 + lane % 8 + lane / 16 * 8, k * 2 + lane / 8 % 2));
      }
      for (int m = 0; m < 2; ++m) {
        for (int n = 0; n < 4; ++n) multiply(c[m][n], a[m], b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
      }
    }
  }

  for (int m = 0; m < 2; ++m) {
    for (int n = 0; n < 4; ++n) {
      for (int i = 0; i < 4; ++i) {
        const int row = block_m + warp_m + m * 16 + lane / 4 + i / 2 * 8;
        const int column = block_n + warp_n + n * 8 + lane % 4 * 2 + i % 2;
        if (row < M && column < N) C[(size_t)row * N + column] = c[m][n][i];
      }
    }
  }
}

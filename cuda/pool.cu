// out[b] = the mean, or the first, of sequence b's rows; zeros if it has none. Or every row on its own. In fp32.
//
//   x [T, H],  cu_seqlens [B + 1],  out [B, H] fp32
//
// Rows on their own and first rows are copied, a warp to a row. For the mean, a block makes kColumns columns of one
// sequence. Rows are summed in blocks of kBlockRows, one block of rows to a warp, and the sums of those blocks are then
// added in their order, kWarps at a time: the order of csrc/cpu/pool.cpp, which depends on the length of the sequence
// alone.
//
//               kColumns = 32 lanes x 4                  sums [kWarps][kColumns], shared memory
//   rows  0..31 | warp 0                  |    -->       | of rows  0..31 |    column c: thread c adds from top to
//   bottom rows 32..63 | warp 1                  |    -->       | of rows 32..63 |
//     ...       |  ...                    |    -->       |  ...           |
//
// Between steps: a barrier after sums are written, and one after they are read if more rows follow.
#include <algorithm>

#include "matrix_checks.h"
#include "ops.h"
#include "primitives/number.cuh"
#include "primitives/row.cuh"
#include "runtime/device.h"
#include "runtime/launch.h"

namespace albert_fast::cuda {
namespace {

/// As in csrc/cpu/pool.cpp.
constexpr int kBlockRows = 32;

/// 16 warps take the 512 rows of the longest sequence at once.
constexpr int kWarps = 16;

/// Together 32 warps, and registers for as many loads on their way as a warp begins at once; with three blocks some
/// targets have too few.
constexpr int kResidentBlocks = 2;

/// To a lane; four sums are one 16-byte store to shared memory without bank conflicts.
constexpr int kVector = 4;
constexpr int kColumns = kWarp * kVector;

/// Rows that are copied need no more than a warp each; few to a block, so that a short batch spreads.
constexpr int kCopyWarps = 4;

/// Vectors of a lane whose loads are on their way at once.
constexpr int kCopyBatch = 4;

template <typename T>
struct PoolParameters {
  const T* x;
  const int32_t* cu_seqlens;
  float* out;
  int64_t x_stride, out_stride;
  int width;
};

/// sum = the sum of `count` rows of x at this lane's columns
template <typename T>
__device__ void sum_rows(const T* x, int64_t stride, int count, float (&sum)[kVector]) {
#pragma unroll
  for (int i = 0; i < kVector; ++i) sum[i] = 0;
#pragma unroll 4  // loads on their way at once
  for (int t = 0; t < count; ++t) {
    float v[kVector];
    load_floats<kVector>(x + t * stride, v);
#pragma unroll
    for (int i = 0; i < kVector; ++i) sum[i] += v[i];
  }
}

/// x / n, rounded once: an approximate quotient, and what it leaves over divided in turn. The division of the language
/// is a function call, around which registers are saved to memory.
__device__ inline float quotient(float x, float n) {
  const float rough = __fdividef(x, n);
  return fmaf(__fdividef(1.0f, n), fmaf(-rough, n, x), rough);
}

template <typename T>
__global__ void __launch_bounds__(kWarps* kWarp, kResidentBlocks) pool_kernel(PoolParameters<T> p) {
  __shared__ float4 sums[kWarps][kWarp];  // [kWarps][kColumns]
  const int64_t sequence = blockIdx.x;
  const int first_column = static_cast<int>(blockIdx.y) * kColumns;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane_column = first_column + lane * kVector;
  const int begin = p.cu_seqlens[sequence];
  const int count = p.cu_seqlens[sequence + 1] - begin;

  const int column = first_column + static_cast<int>(threadIdx.x);  // whose total this thread has, if it is one
  const bool has_column = threadIdx.x < kColumns && column < p.width;
  float total = 0;
  for (int round = 0; round < count; round += kWarps * kBlockRows) {
    // 1. Each warp sums its block of rows.
    const int first = round + warp * kBlockRows;
    if (first < count && lane_column < p.width) {
      float sum[kVector];
      sum_rows(p.x + (begin + first) * p.x_stride + lane_column, p.x_stride, min(count - first, kBlockRows), sum);
      sums[warp][lane] = make_float4(sum[0], sum[1], sum[2], sum[3]);
    }
    __syncthreads();
    // 2. Each column's sums are added in the order of the rows.
    const int blocks = min((count - round + kBlockRows - 1) / kBlockRows, kWarps);
    if (has_column) {
      for (int i = 0; i < blocks; ++i) total += reinterpret_cast<const float*>(sums[i])[threadIdx.x];
    }
    if (round + kWarps * kBlockRows < count) __syncthreads();
  }
  if (has_column) {
    p.out[sequence * p.out_stride + column] = count > 0 ? quotient(total, static_cast<float>(count)) : 0.0f;
  }
}

template <typename T>
struct CopyParameters {
  const T* x;
  const int32_t* cu_seqlens;  // of kFirst; null for kEach
  float* out;
  int64_t out_rows, x_stride, out_stride;
  int width;
};

/// kFirst and kEach: out[i] = the first row of sequence i, or row i, in fp32. A warp moves a row, its lanes side by
/// side, kVector numbers each.
template <typename T>
__global__ void __launch_bounds__(kCopyWarps* kWarp) copy_rows_kernel(CopyParameters<T> p) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kCopyWarps + threadIdx.x / kWarp;
  for (int64_t i = first; i < p.out_rows; i += static_cast<int64_t>(gridDim.x) * kCopyWarps) {
    const int64_t row = p.cu_seqlens ? p.cu_seqlens[i] : i;
    const bool has_row = p.cu_seqlens ? row < p.cu_seqlens[i + 1] : true;
    for (int j = lane * kVector; j < p.width; j += kCopyBatch * kColumns) {
      float v[kCopyBatch][kVector] = {};
#pragma unroll
      for (int b = 0; b < kCopyBatch; ++b) {
        const int column = j + b * kColumns;
        if (has_row && column < p.width) load_floats<kVector>(p.x + row * p.x_stride + column, v[b]);
      }
#pragma unroll
      for (int b = 0; b < kCopyBatch; ++b) {
        const int column = j + b * kColumns;
        if (column < p.width) store_global(p.out + i * p.out_stride + column, v[b]);  // nvcc splits a plain store
      }
    }
  }
}

template <typename T>
void copy_rows(const Pool& op, Stream stream) {
  const int64_t most = int64_t{device_limits().multiprocessors} * (2048 / (kCopyWarps * kWarp));  // threads of one
  const int64_t blocks = std::min<int64_t>((op.out.rows + kCopyWarps - 1) / kCopyWarps, most);
  const int32_t* const cu_seqlens = op.pooling == Pooling::kFirst ? op.cu_seqlens : nullptr;
  launch(copy_rows_kernel<T>, {dim3(static_cast<unsigned>(blocks)), dim3(kCopyWarps * kWarp)}, stream,
         CopyParameters<T>{static_cast<const T*>(op.x.data), cu_seqlens, static_cast<float*>(op.out.data), op.out.rows,
                           op.x.stride, op.out.stride, static_cast<int>(op.out.cols)});
}

}  // namespace

template <typename T>
void pool(const Pool& op, Stream stream) {
  check_rows("x", op.x);
  check_rows("out", op.out);
  if (op.pooling != Pooling::kMean) return copy_rows<T>(op, stream);
  const int64_t tiles = (op.out.cols + kColumns - 1) / kColumns;
  launch(pool_kernel<T>, {dim3(static_cast<unsigned>(op.out.rows), static_cast<unsigned>(tiles)), dim3(kWarps * kWarp)},
         stream,
         PoolParameters<T>{static_cast<const T*>(op.x.data), op.cu_seqlens, static_cast<float*>(op.out.data),
                           op.x.stride, op.out.stride, static_cast<int>(op.out.cols)});
}

template void pool<float>(const Pool&, Stream);
template void pool<__half>(const Pool&, Stream);
template void pool<__nv_bfloat16>(const Pool&, Stream);

}  // namespace albert_fast::cuda

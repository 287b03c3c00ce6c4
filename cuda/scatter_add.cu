// out[targets[i]] += the sum of x[order[starts[i]]] .. x[order[starts[i + 1] - 1]], in that order
//
//   x [T, E] fp32,  order [T],  starts [n + 1],  targets [n],  out [V, E] fp32
//
// A block owns kColumns columns of one target, so that nothing has to be atomic. Rows are summed in blocks of
// kBlockRows, one to a warp at a time, and the sums of those blocks are added in their order. How a row of out is
// summed depends on its own rows alone, of which most targets (words) have a few and some (token types) thousands.
//
//                 kColumns = 32 lanes x 4               sums [kWarps][kColumns], shared memory
//   rows  0..31  | warp 0                  |    -->     | of rows  0..31 |    warp 0 adds from top to bottom
//   rows 32..63  | warp 1                  |    -->     | of rows 32..63 |
//     ...
//
// Between steps: a barrier after sums are written, and one after they are read if more rows follow.
#include "matrix_checks.h"
#include "ops.h"
#include "primitives/number.cuh"
#include "primitives/row.cuh"
#include "runtime/launch.h"

namespace albert_fast::cuda {
namespace {

/// As in pool.cu: loads that follow each other without waiting, and a short chain of additions.
constexpr int kBlockRows = 32;

/// Most targets have fewer rows than one warp sums: more would mostly look on.
constexpr int kWarps = 4;

constexpr int kVector = 4;  // to a lane, 16 bytes
constexpr int kColumns = kWarp * kVector;

struct ScatterAddParameters {
  const float* x;
  const int32_t* order;
  const int32_t* starts;
  const int32_t* targets;
  float* out;
  int64_t x_stride, out_stride;
  int width;
};

__global__ void __launch_bounds__(kWarps* kWarp) scatter_add_kernel(ScatterAddParameters p) {
  __shared__ float4 sums[kWarps][kWarp];  // [kWarps][kColumns]
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int column = static_cast<int>(blockIdx.y) * kColumns + lane * kVector;
  const int begin = p.starts[blockIdx.x], count = p.starts[blockIdx.x + 1] - begin;
  const bool has_columns = column < p.width;

  float4 total = {};
  for (int round = 0; round < count; round += kWarps * kBlockRows) {
    // 1. Each warp sums its block of rows.
    const int first = round + warp * kBlockRows;
    if (has_columns && first < count) {
      float sum[kVector] = {};
#pragma unroll 4  // loads on their way at once
      for (int i = first; i < min(count, first + kBlockRows); ++i) {
        float v[kVector];
        load_floats<kVector>(p.x + p.order[begin + i] * p.x_stride + column, v);
#pragma unroll
        for (int j = 0; j < kVector; ++j) sum[j] += v[j];
      }
      sums[warp][lane] = make_float4(sum[0], sum[1], sum[2], sum[3]);
    }
    __syncthreads();
    // 2. The sums are added in the order of the rows.
    if (warp == 0 && has_columns) {
      const int blocks = min((count - round + kBlockRows - 1) / kBlockRows, kWarps);
      for (int i = 0; i < blocks; ++i) {
        const float4 sum = sums[i][lane];
        total = {total.x + sum.x, total.y + sum.y, total.z + sum.z, total.w + sum.w};
      }
    }
    if (round + kWarps * kBlockRows < count) __syncthreads();
  }
  if (warp > 0 || !has_columns) return;
  float* const out = p.out + p.targets[blockIdx.x] * p.out_stride + column;
  float v[kVector];
  load_floats<kVector>(out, v);
  store_global(out, {v[0] + total.x, v[1] + total.y, v[2] + total.z, v[3] + total.w});
}

}  // namespace

template <typename T>
void scatter_add(const ScatterAdd& op, Stream stream) {
  check_rows("x", op.x);
  check_rows("out", op.out);
  const int64_t tiles = (op.out.cols + kColumns - 1) / kColumns;
  launch(scatter_add_kernel,
         {dim3(static_cast<unsigned>(op.num_targets), static_cast<unsigned>(tiles)), dim3(kWarps * kWarp)}, stream,
         ScatterAddParameters{static_cast<const float*>(op.x.data), op.order, op.starts, op.targets,
                              static_cast<float*>(op.out.data), op.x.stride, op.out.stride,
                              static_cast<int>(op.out.cols)});
}

template void scatter_add<float>(const ScatterAdd&, Stream);
template void scatter_add<__half>(const ScatterAdd&, Stream);
template void scatter_add<__nv_bfloat16>(const ScatterAdd&, Stream);

}  // namespace albert_fast::cuda

// out[i] = x[rows[i]], or zeros where rows[i] is negative
//
//   x [T, H],  rows [n],  out [n, H]
//
// A warp moves a row, its lanes side by side, 16 bytes each: what the bytes mean makes no difference.
//
//   out[i]:  | lane 0 | lane 1 | ... | lane 31 | lane 0 | ...      (16 bytes each)
#include <algorithm>

#include "matrix_checks.h"
#include "ops.h"
#include "primitives/row.cuh"
#include "runtime/device.h"
#include "runtime/launch.h"

namespace albert_fast::cuda {
namespace {

/// Four warps: rows are few (one for each sequence or masked token), and small blocks spread them over more
/// multiprocessors.
constexpr int kBlockWarps = 4;

/// Blocks that may be at work at once on a multiprocessor: 64 warps of the largest, 16 blocks of the smallest.
constexpr int kBlocksPerMultiprocessor = 16;

/// Vectors of a lane whose loads are on their way at once.
constexpr int kBatch = 4;

struct GatherParameters {
  const uint4* x;
  const int32_t* rows;
  uint4* out;
  int64_t num_rows, x_stride, out_stride;  // strides in uint4
  int width;                               // the same
};

__global__ void __launch_bounds__(kBlockWarps* kWarp) gather_kernel(GatherParameters p) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kBlockWarps + threadIdx.x / kWarp;
  for (int64_t i = first; i < p.num_rows; i += static_cast<int64_t>(gridDim.x) * kBlockWarps) {
    const int64_t row = p.rows[i];
    const uint4* const x = p.x + row * p.x_stride;
    uint4* const out = p.out + i * p.out_stride;
    for (int first_vector = lane; first_vector < p.width; first_vector += kBatch * kWarp) {
      uint4 v[kBatch] = {};
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        const int j = first_vector + b * kWarp;
        if (row >= 0 && j < p.width) v[b] = x[j];
      }
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        const int j = first_vector + b * kWarp;
        if (j < p.width) out[j] = v[b];
      }
    }
  }
}

}  // namespace

template <typename T>
void gather(const Gather& op, Stream stream) {
  check_rows("x", op.x);
  check_rows("out", op.out);
  constexpr int64_t kVector = sizeof(uint4) / sizeof(T);
  const int64_t blocks = std::min<int64_t>((op.out.rows + kBlockWarps - 1) / kBlockWarps,
                                           kBlocksPerMultiprocessor * int64_t{device_limits().multiprocessors});
  launch(gather_kernel, {dim3(static_cast<unsigned>(blocks)), dim3(kBlockWarps * kWarp)}, stream,
         GatherParameters{static_cast<const uint4*>(op.x.data), op.rows, static_cast<uint4*>(op.out.data), op.out.rows,
                          op.x.stride / kVector, op.out.stride / kVector, static_cast<int>(op.out.cols / kVector)});
}

template void gather<float>(const Gather&, Stream);
template void gather<__half>(const Gather&, Stream);
template void gather<__nv_bfloat16>(const Gather&, Stream);

}  // namespace albert_fast::cuda

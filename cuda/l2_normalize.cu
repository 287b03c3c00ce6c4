// x[i] = x[i] / max(|x[i]|_2, 1e-12), in place
//
//   x [B, H] fp32, whatever the storage type
//
// A block takes a row; its threads lie side by side, four numbers each, and pass over it twice: squares, then
// quotients. There is one row for each sequence, so that its second reading counts for nothing.
#include <algorithm>

#include "matrix_checks.h"
#include "ops.h"
#include "primitives/row.cuh"
#include "runtime/device.h"
#include "runtime/launch.h"

namespace albert_fast::cuda {
namespace {

constexpr int kThreads = 256;  // one vector for each of the 1024 columns of a usual row, four at H = 4096
constexpr int kVector = 4;     // 16 bytes
constexpr float kLeastNorm = 1e-12f;

struct L2NormalizeParameters {
  float* x;
  int64_t rows, stride;
  int width;
};

__global__ void __launch_bounds__(kThreads) l2_normalize_kernel(L2NormalizeParameters p) {
  __shared__ RowSums sums;
  RowGroup<kThreads> group(sums);
  for (int64_t row = blockIdx.x; row < p.rows; row += gridDim.x) {
    float* const x = p.x + row * p.stride;
    float squares[1] = {};
#pragma unroll 2  // loads on their way at once
    for (int column = group.thread() * kVector; column < p.width; column += kThreads * kVector) {
      float v[kVector];
      load_floats(x + column, v);
#pragma unroll
      for (int i = 0; i < kVector; ++i) squares[0] += v[i] * v[i];
    }
    group.sum(squares);
    // Asked this way round, NaN goes through.
    const float scale = squares[0] < kLeastNorm * kLeastNorm ? 1.0f / kLeastNorm : inverse_sqrt(squares[0]);
#pragma unroll 2  // loads on their way at once
    for (int column = group.thread() * kVector; column < p.width; column += kThreads * kVector) {
      float v[kVector];
      load_floats(x + column, v);
#pragma unroll
      for (int i = 0; i < kVector; ++i) v[i] *= scale;
      store_floats(x + column, v);
    }
  }
}

}  // namespace

template <typename T>
void l2_normalize(const L2Normalize& op, Stream stream) {
  check_rows("x", op.x);
  const int64_t blocks = std::min<int64_t>(op.x.rows, device_limits().multiprocessors);
  launch(l2_normalize_kernel, {dim3(static_cast<unsigned>(blocks)), dim3(kThreads)}, stream,
         L2NormalizeParameters{static_cast<float*>(op.x.data), op.x.rows, op.x.stride, static_cast<int>(op.x.cols)});
}

template void l2_normalize<float>(const L2Normalize&, Stream);
template void l2_normalize<__half>(const L2Normalize&, Stream);
template void l2_normalize<__nv_bfloat16>(const L2Normalize&, Stream);

}  // namespace albert_fast::cuda

// x[i] = x[i] / max(|x[i]|_2, 1e-12), in place
//
//   x [B, H] fp32, whatever the storage type
//
// A block takes a row and holds it in registers (primitives/row.cuh): read once, written once. There is one row for
// each sequence, and few of them, so every row has a block of its own.
#include <algorithm>
#include <string>

#include "matrix_checks.h"
#include "ops.h"
#include "primitives/row.cuh"
#include "runtime/device.h"
#include "runtime/launch.h"

namespace albert_fast::cuda {
namespace {

/// 16 bytes each: H = 4096 is four vectors for a thread, the widest row that LayerNorm takes, 8192, is eight.
constexpr int kVector = 4;
using Shape = RowShape<256, 32>;

constexpr float kLeastNorm = 1e-12f;

struct L2NormalizeParameters {
  float* x;
  int64_t rows, stride;
  int width;
};

__global__ void __launch_bounds__(Shape::kThreads) l2_normalize_kernel(L2NormalizeParameters p) {
  __shared__ RowSums sums;
  RowGroup<Shape::kThreads> group(sums);
  for (int64_t i = blockIdx.x; i < p.rows; i += gridDim.x) {
    float* const x = p.x + i * p.stride;
    Row<Shape, kVector> row(group, p.width);
    row.load(x);
    row.normalize(kLeastNorm);
    row.store(x);
  }
}

}  // namespace

template <typename T>
void l2_normalize(const L2Normalize& op, Stream stream) {
  check_rows("x", op.x);
  if (op.x.cols > Shape::kMaxWidth) {
    throw InvalidInputError("x: got rows of " + std::to_string(op.x.cols) + ", expected at most " +
                            std::to_string(Shape::kMaxWidth));
  }
  const int64_t blocks = std::min<int64_t>(op.x.rows, device_limits().multiprocessors);
  launch(l2_normalize_kernel, {dim3(static_cast<unsigned>(blocks)), dim3(Shape::kThreads)}, stream,
         L2NormalizeParameters{static_cast<float*>(op.x.data), op.x.rows, op.x.stride, static_cast<int>(op.x.cols)});
}

template void l2_normalize<float>(const L2Normalize&, Stream);
template void l2_normalize<__half>(const L2Normalize&, Stream);
template void l2_normalize<__nv_bfloat16>(const L2Normalize&, Stream);

}  // namespace albert_fast::cuda

// The second half of sums over rows: the first leaves partials of blocks of rows, here they are added in ascending
// order.
#pragma once

#include <cstdint>

#include "kernels/types.h"
#include "primitives/layer_norm_grad.cuh"
#include "runtime/launch.h"

namespace albert_fast::cuda {

/// Of rows of this width, in how many partials.
inline int64_t num_partials(int64_t rows) { return (rows + kPartialRows - 1) / kPartialRows; }

/// Blocks that make them.
template <typename Shape>
LaunchShape grad_launch_shape(int64_t rows, size_t shared_bytes) {
  const int64_t blocks = (num_partials(rows) + Shape::kTileRows - 1) / Shape::kTileRows;
  return {dim3(static_cast<unsigned>(blocks)), dim3(kGradThreads<Shape>), shared_bytes};
}

/// dgamma [width] and dbeta [width] start as, or are raised by, the sums over i of partials[i][0] and partials[i][1].
void add_partials(const float* partials, int64_t count, int64_t width, float* dgamma, float* dbeta, Into into,
                  Stream stream);

}  // namespace albert_fast::cuda

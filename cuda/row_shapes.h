// Host side of primitives/row.cuh: which shape a width takes, and over how many blocks the rows go.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "kernels/errors.h"
#include "ops.h"
#include "primitives/row.cuh"
#include "runtime/device.h"
#include "runtime/launch.h"

namespace albert_fast::cuda {

/// Calls f(shape) with the RowShape for rows of this width. A thread has at most 16 numbers, which with two more rows
/// on their way to be added fit in its 64 registers. Rows of 128 (E of every published ALBERT), 1024, 2048 and 4096 (H)
/// leave no thread idle. Throws InvalidInputError, naming `argument`, beyond the widest.
template <typename F>
void with_row_shape(const char* argument, int64_t width, F f) {
  using Widest = RowShape<512, 16>;
  static_assert(Widest::kMaxWidth == kWidestRow);
  if (width <= RowShape<8, 16>::kMaxWidth) return f(RowShape<8, 16>{});
  if (width <= RowShape<32, 16>::kMaxWidth) return f(RowShape<32, 16>{});
  if (width <= RowShape<128, 8>::kMaxWidth) return f(RowShape<128, 8>{});
  if (width <= RowShape<256, 8>::kMaxWidth) return f(RowShape<256, 8>{});
  if (width <= RowShape<256, 16>::kMaxWidth) return f(RowShape<256, 16>{});
  if (width <= Widest::kMaxWidth) return f(Widest{});
  throw InvalidInputError(std::string(argument) + ": got rows of " + std::to_string(width) + ", expected at most " +
                          std::to_string(Widest::kMaxWidth));
}

/// As many blocks as can be at work at once, or fewer if there are fewer rows.
template <typename Shape>
LaunchShape row_launch_shape(int64_t num_rows, size_t shared_bytes) {
  const int64_t num_tiles = (num_rows + Shape::kTileRows - 1) / Shape::kTileRows;
  const int64_t blocks = std::min<int64_t>(num_tiles, device_limits().multiprocessors);
  return {dim3(static_cast<unsigned>(blocks)), dim3(kRowBlockThreads), shared_bytes};
}

}  // namespace albert_fast::cuda

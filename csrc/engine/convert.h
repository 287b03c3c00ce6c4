// Between the dtypes the host computes with and those the device stores.
#pragma once

#include "kernels/types.h"

namespace albert_fast {

/// The dtype in which the host hands weights over and gets them back: float64 for float64, else float32.
inline DType host_dtype(DType stored) { return stored == DType::kFloat64 ? DType::kFloat64 : DType::kFloat32; }

/// to[i] = from[i] of host_dtype(stored), rounded to nearest, ties to even. False if a result is not finite, because
/// its number was not, or lies beyond what the dtype holds (65504 for float16).
[[nodiscard]] bool to_stored(DType stored, const void* from, int64_t count, void* to);

/// The way back, which is exact.
void from_stored(DType stored, const void* from, int64_t count, void* to);

}  // namespace albert_fast

// What kernels that move 16 bytes at a time ask of their arguments.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/errors.h"
#include "kernels/types.h"
#include "ops.h"

namespace albert_fast::cuda {

/// Throws InvalidInputError, naming `argument`, unless `data` is a multiple of 16.
inline void check_aligned(const char* argument, const void* data) {
  constexpr uintptr_t kAccessBytes = 16;
  const uintptr_t beyond = reinterpret_cast<uintptr_t>(data) % kAccessBytes;
  if (beyond == 0) return;
  throw InvalidInputError(std::string(argument) + ": got an address " + std::to_string(beyond) +
                          " bytes beyond a multiple of 16, expected a multiple of 16");
}

/// Throws InvalidInputError, naming `argument`, unless every row begins at a multiple of 16 bytes and has a width of
/// kWidthMultiple.
inline void check_rows(const char* argument, const ConstMatrix& matrix) {
  check_aligned(argument, matrix.data);
  if (matrix.cols % kWidthMultiple == 0 && matrix.stride % kWidthMultiple == 0) return;
  throw InvalidInputError(std::string(argument) + ": got " + std::to_string(matrix.cols) + " columns with row stride " +
                          std::to_string(matrix.stride) + ", expected multiples of " + std::to_string(kWidthMultiple));
}

}  // namespace albert_fast::cuda

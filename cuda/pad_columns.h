// Operands of products whose rows are no multiple of 16 bytes wide, such as the gradient of two logits: copied once, to
// rows that are.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/types.h"

namespace albert_fast::cuda {

/// Bytes that pad_columns needs for [rows, cols]: 0 if cols is a multiple of kWidthMultiple.
size_t pad_columns_scratch(int64_t element_size, int64_t rows, int64_t cols);

/// `m` itself if its width is such a multiple; else a copy in `scratch` with zeros behind its last columns, which do
/// not count as columns of it.
template <typename T>
ConstMatrix pad_columns(const ConstMatrix& m, Scratch scratch, Stream stream);

}  // namespace albert_fast::cuda

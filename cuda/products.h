// What `linear` and its gradients share on the host: checks of their arguments, and the launch of a Product.
#pragma once

#include <climits>
#include <string>
#include <type_traits>

#include "kernels/errors.h"
#include "linear_tiles.h"
#include "matrix_checks.h"
#include "primitives/product.cuh"
#include "runtime/launch.h"

namespace albert_fast::cuda {

template <typename T>
constexpr DType dtype_of() {
  if (std::is_same_v<T, float>) return DType::kFloat32;
  return std::is_same_v<T, __half> ? DType::kFloat16 : DType::kBFloat16;
}

/// "[rows, cols]"
inline std::string shape(int64_t rows, int64_t cols) {
  return "[" + std::to_string(rows) + ", " + std::to_string(cols) + "]";
}

/// Checks of one op's arguments, which throw InvalidInputError with its name.
struct ArgumentChecks {
  const char* op;

  void require(bool holds, const std::string& message) const {
    if (!holds) throw InvalidInputError(std::string(op) + ": " + message);
  }

  /// An operand or result of the given shape, with rows that do not overlap.
  void matrix(const std::string& name, const ConstMatrix& m, int64_t rows, int64_t cols) const {
    require(m.rows == rows && m.cols == cols,
            name + ": got shape " + shape(m.rows, m.cols) + ", expected " + shape(rows, cols));
    require(m.stride >= cols,
            name + ": got stride " + std::to_string(m.stride) + ", expected at least " + std::to_string(cols));
  }

  /// An operand whose rows begin at multiples of 16 bytes, as copies take them.
  void operand(const std::string& name, const ConstMatrix& m) const {
    require(m.stride % kWidthMultiple == 0, name + ": got stride " + std::to_string(m.stride) +
                                                ", expected a multiple of " + std::to_string(kWidthMultiple));
    check_aligned(name.c_str(), m.data);
  }

  /// W [N, K], plain.
  void weight(const Weight& w) const {
    require(w.form == WeightForm::kPlain, "weight: got packed, expected plain [N, K]");
    require(w.cols % kWidthMultiple == 0 && w.cols <= INT_MAX && w.rows <= INT_MAX,
            "weight: got shape " + shape(w.rows, w.cols) + ", expected columns that are a multiple of " +
                std::to_string(kWidthMultiple) + " and both below 2^31");
    check_aligned("weight", w.data);
  }

  /// The table's dtype, that of T, or float32.
  template <typename T>
  void result_dtype(const std::string& name, DType dtype) const {
    require(dtype == dtype_of<T>() || dtype == DType::kFloat32,
            name + ": got " + name_of(dtype) + ", expected " + name_of(dtype_of<T>()) + " or float32");
  }
};

/// y [num_tokens, num_rows] and residual, which may be null, without bias and activation.
template <typename Out>
Epilogue<Out> make_epilogue(const ConstMatrix& residual, const Matrix& y, DType y_dtype) {
  Epilogue<Out> to{};
  to.activation = Activation::kNone;
  to.residual = static_cast<const Out*>(residual.data);
  to.residual_stride = residual.stride;
  to.y = y.data;
  to.y_stride = y.stride;
  to.y_dtype = y_dtype;
  to.num_tokens = y.rows;
  to.num_rows = static_cast<int>(y.cols);
  const auto vectors = [](const ConstMatrix& m, int64_t element_size) {
    return m.stride % 4 == 0 && reinterpret_cast<uintptr_t>(m.data) % (4 * element_size) == 0;
  };
  to.vectors = vectors(residual, sizeof(Out)) && vectors(y, size_of(y_dtype));
  return to;
}

/// One block for each tile of y; `kernel` is the one of that tile.
template <typename T, typename Out>
void launch_product(void (*kernel)(Product<T, Out>), const LinearTile& tile, Product<T, Out> p, Stream stream) {
  p.token_tiles = static_cast<int>((p.epilogue.num_tokens + tile.tokens - 1) / tile.tokens);
  p.row_tiles = static_cast<int>((p.epilogue.num_rows + tile.rows - 1) / tile.rows);
  LaunchShape launch_shape;
  launch_shape.grid = dim3(static_cast<unsigned>(p.token_tiles) * static_cast<unsigned>(p.row_tiles));
  launch_shape.block = dim3(32 * tile.warps_m * tile.warps_n);
  launch_shape.shared_bytes = shared_bytes(tile, sizeof(T));
  launch(kernel, launch_shape, stream, p);
}

}  // namespace albert_fast::cuda

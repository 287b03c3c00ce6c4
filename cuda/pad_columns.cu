// to [rows, width] = from [rows, cols] with zeros in the columns from cols on
//
//   A thread has one element of `to` at a time, neighbours have neighbours.
#include "pad_columns.h"

#include <algorithm>

#include "ops.h"
#include "primitives/number.cuh"
#include "runtime/device.h"
#include "runtime/launch.h"

namespace albert_fast::cuda {
namespace {

constexpr int kThreads = 256;

/// Blocks that may be at work at once on a multiprocessor with 2048 threads.
constexpr int kBlocksPerMultiprocessor = 8;

template <typename T>
struct PadParameters {
  const T* from;
  int64_t stride;
  T* to;
  int64_t rows;
  int cols;
  int width;
};

template <typename T>
__global__ void __launch_bounds__(kThreads) pad_columns_kernel(PadParameters<T> p) {
  const int64_t count = p.rows * p.width;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += int64_t{gridDim.x} * kThreads) {
    const int64_t row = i / p.width;
    const int column = static_cast<int>(i - row * p.width);
    p.to[i] = column < p.cols ? p.from[row * p.stride + column] : from_float<T>(0.0f);
  }
}

int64_t padded_width(int64_t cols) { return (cols + kWidthMultiple - 1) / kWidthMultiple * kWidthMultiple; }

}  // namespace

size_t pad_columns_scratch(int64_t element_size, int64_t rows, int64_t cols) {
  return cols % kWidthMultiple == 0 ? 0 : static_cast<size_t>(rows * padded_width(cols) * element_size);
}

template <typename T>
ConstMatrix pad_columns(const ConstMatrix& m, Scratch scratch, Stream stream) {
  if (m.cols % kWidthMultiple == 0) return m;
  const int64_t width = padded_width(m.cols);
  const PadParameters<T> p{static_cast<const T*>(m.data), m.stride,
                           static_cast<T*>(scratch.data), m.rows,
                           static_cast<int>(m.cols),      static_cast<int>(width)};
  const int64_t blocks = std::min<int64_t>((m.rows * width + kThreads - 1) / kThreads,
                                           kBlocksPerMultiprocessor * int64_t{device_limits().multiprocessors});
  launch(pad_columns_kernel<T>, {dim3(static_cast<unsigned>(blocks)), dim3(kThreads)}, stream, p);
  return {scratch.data, m.rows, m.cols, width};
}

template ConstMatrix pad_columns<float>(const ConstMatrix&, Scratch, Stream);
template ConstMatrix pad_columns<__half>(const ConstMatrix&, Scratch, Stream);
template ConstMatrix pad_columns<__nv_bfloat16>(const ConstMatrix&, Scratch, Stream);

}  // namespace albert_fast::cuda

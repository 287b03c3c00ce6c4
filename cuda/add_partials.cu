// dgamma[j] (+)= sum over i of partials[i][0][j],  dbeta[j] (+)= sum over i of partials[i][1][j]
//
//   partials [count, 2, width],  dgamma, dbeta [width]
//
// A thread has one column of the 2 width; neighbours have neighbours, and each adds from the first partial to the last.
#include "add_partials.h"

namespace albert_fast::cuda {
namespace {

/// Columns are few (2 H): small blocks spread them over more multiprocessors.
constexpr int kThreads = 128;

struct AddPartialsParameters {
  const float* partials;
  float* dgamma;
  float* dbeta;
  int64_t count;
  int width;
  Into into;
};

__global__ void __launch_bounds__(kThreads) add_partials_kernel(AddPartialsParameters p) {
  const int column = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (column >= 2 * p.width) return;
  const float* const partials = p.partials + column;
  float sum = 0;
#pragma unroll 8  // loads on their way at once
  for (int64_t i = 0; i < p.count; ++i) sum += partials[i * 2 * p.width];
  float* const to = column < p.width ? p.dgamma + column : p.dbeta + (column - p.width);
  *to = p.into == Into::kAdd ? *to + sum : sum;
}

}  // namespace

void add_partials(const float* partials, int64_t count, int64_t width, float* dgamma, float* dbeta, Into into,
                  Stream stream) {
  const auto blocks = static_cast<unsigned>((2 * width + kThreads - 1) / kThreads);
  launch(add_partials_kernel, {dim3(blocks), dim3(kThreads)}, stream,
         AddPartialsParameters{partials, dgamma, dbeta, count, static_cast<int>(width), into});
}

}  // namespace albert_fast::cuda

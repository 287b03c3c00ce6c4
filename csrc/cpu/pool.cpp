// out[b] = the mean, or the first, of sequence b's rows; zeros if it has none. Or a copy, with every row on its own.
#include "cpu/primitives/block.h"
#include "cpu/primitives/simd.h"
#include "cpu/runtime/executor.h"
#include "cpu/variant.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {
namespace {

/// Rows summed in one chain; the sums of such blocks are then added, which keeps the error of 512 rows that of 32 + 16.
constexpr int64_t kBlockRows = 32;

real mean_of_column(const ConstMatrix& x, int64_t begin, int64_t end, int64_t j) {
  real total = 0;
  for (int64_t block = begin; block < end; block += kBlockRows) {
    real sum = 0;
    for (int64_t t = block; t < min(end, block + kBlockRows); ++t) sum += x.row<real>(t)[j];
    total += sum;
  }
  return total / real(end - begin);
}

vec mean_of_columns(const ConstMatrix& x, int64_t begin, int64_t end, int64_t j) {
  vec total = {};
  for (int64_t block = begin; block < end; block += kBlockRows) {
    vec sum = {};
    for (int64_t t = block; t < min(end, block + kBlockRows); ++t) sum += load(x.row<real>(t) + j);
    total += sum;
  }
  return total / broadcast(real(end - begin));
}

}  // namespace

void pool(const Pool& op, Stream stream) {
  auto& executor = *static_cast<Executor*>(stream.handle);
  executor.parallel_for(op.out.rows, [&](int64_t sequence, int) {
    const bool each = op.pooling == Pooling::kEach;
    const int64_t begin = each ? sequence : op.cu_seqlens[sequence];
    int64_t end = each ? sequence + 1 : op.cu_seqlens[sequence + 1];
    real* out = op.out.row<real>(sequence);
    int64_t j = 0;
    if (begin == end) {
      for (; j < op.out.cols; ++j) out[j] = 0;
      return;
    }
    if (op.pooling == Pooling::kFirst) end = begin + 1;
    for (; j + kLanes <= op.out.cols; j += kLanes) store(out + j, mean_of_columns(op.x, begin, end, j));
    for (; j < op.out.cols; ++j) out[j] = mean_of_column(op.x, begin, end, j);
  });
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

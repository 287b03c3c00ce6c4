// int16 and int8 weights: of operands that are on the grid already, linear is as exact as sums of floats are.
#include "linear_call.h"
#include "support.h"

namespace albert_fast::testing {
namespace {

/// x[T, K] of integers / 1024 that are on the grid: the first two of each group are as far apart as it has levels. Of
/// int8 they are anywhere around 0, of int16 its largest and 0.
Tensor<float> on_grid(int64_t t, int64_t k, DType dtype, Rng& rng) {
  const int levels = dtype == DType::kInt16 ? 4095 : 217;
  Tensor<float> x(t, k, 1);
  for (int64_t i = 0; i < t; ++i) {
    const int low = dtype == DType::kInt16 ? 0 : -int(i * 50 % (levels + 1)), high = low + levels;
    std::uniform_int_distribution<int> level(dtype == DType::kInt16 ? -levels : low, high);
    for (int64_t j = 0; j < k; ++j) {
      const int64_t place = j % kQuantGroup;
      x.at(i, j) = float(place == 0 ? high : place == 1 ? low : level(rng)) / 1024;
    }
  }
  return x;
}

void check_shape(const Ops& ops, int64_t t, int64_t n, int64_t k) {
  Rng rng(t);
  const Tensor<float> weight = Tensor<float>(n, k).fill(rng), x = on_grid(t, k, ops.weight_dtype, rng);
  const int64_t bytes = packed_bytes(ops.weight_dtype, n, k);
  Guarded<float> packed(bytes / sizeof(float));
  ops.pack_weight({weight.view(), 0, n, packed.data()}, Stream{});
  CHECK(packed.guards_intact());
  Tensor<float> kept(n, k), y(t, n, 2);
  ops.unpack_weight({packed.data(), 0, n, kept.view()}, Stream{});

  LinearCall<float>{ops, weight, nullptr, Activation::kNone, nullptr}.run(
      {packed.data(), n, k, WeightForm::kPacked, ops.weight_dtype}, x.view(), y.view(), 2);
  CHECK(y.surroundings_intact());
  // Of each group: its sum as a float, two scales, and the addition; and `kept` is rounded, too.
  const double roundings = double((k + kQuantGroup - 1) / kQuantGroup) + 5;
  int64_t wrong = 0;
  for (int64_t i = 0; i < t; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0, size = 0;
      for (int64_t l = 0; l < k; ++l) {
        sum += double(x.at(i, l)) * kept.at(j, l);
        size += std::fabs(double(x.at(i, l)) * kept.at(j, l));
      }
      wrong += !(std::fabs(y.at(i, j) - sum) <= roundings * kRoundoff<float> * size);
    }
  }
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("linear of quantised weights sums integers exactly, with every number of rows in a tile") {
  for (const std::string& isa : cpu::available_isas()) {
    for (const DType dtype : {DType::kInt16, DType::kInt8}) {
      const Ops& ops = cpu::find_ops(isa, dtype);
      CAPTURE(isa);
      CAPTURE(name_of(dtype));
      for (int64_t t = 1; t <= 17; ++t) {  // two of the largest tiles, and one row more
        CAPTURE(t);
        check_shape(ops, t, 37, 261);
      }
      check_shape(ops, 3, 300, 513);
      check_shape(ops, 193, 7, 1);
    }
  }
}

}  // namespace albert_fast::testing

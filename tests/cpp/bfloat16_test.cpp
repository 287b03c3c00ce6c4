// bfloat16 weights: packing them is exact, and linear gives the bits of the float32 table with the same weights.
#include "linear_call.h"
#include "support.h"

namespace albert_fast::testing {
namespace {

/// W[N, K] of numbers that bfloat16 holds, in both types.
struct RoundWeight {
  Tensor<float> wide;
  std::vector<uint16_t> narrow;

  RoundWeight(int64_t n, int64_t k, Rng& rng) : wide(n, k) {
    wide.fill(rng);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < k; ++j) {
        const uint32_t bits = std::bit_cast<uint32_t>(wide.at(i, j)) & 0xffff0000u;
        wide.at(i, j) = std::bit_cast<float>(bits);
        narrow.push_back(static_cast<uint16_t>(bits >> 16));
      }
    }
  }
};

void check_shape(const std::string& isa, int64_t t, int64_t n, int64_t k) {
  Rng rng(t);
  const RoundWeight weight(n, k, rng);
  const Tensor<float> x = Tensor<float>(t, k, 1).fill(rng), bias = Tensor<float>(1, n).fill(rng);
  const Ops& ops = cpu::find_ops(isa, DType::kBFloat16);

  Guarded<float> packed(packed_bytes(DType::kBFloat16, n, k) / sizeof(float));
  ops.pack_weight({{weight.narrow.data(), n, k, k}, 0, n, packed.data()}, Stream{});
  CHECK(packed.guards_intact());
  std::vector<uint16_t> back(n * k);
  ops.unpack_weight({packed.data(), 0, n, {back.data(), n, k, k}}, Stream{});
  CHECK(back == weight.narrow);

  Tensor<float> ours(t, n, 2), float32(t, n);
  LinearCall<float>{ops, weight.wide, &bias, Activation::kGeluTanh, nullptr}.run(
      {packed.data(), n, k, WeightForm::kPacked, DType::kBFloat16}, x.view(), ours.view(), 2);
  LinearCall<float>{cpu::find_ops(isa, DType::kFloat32), weight.wide, &bias, Activation::kGeluTanh, nullptr}.run(
      WeightForm::kPacked, x.view(), float32, 1);
  CHECK(identical(ours, float32));
  CHECK(ours.surroundings_intact());
}

}  // namespace

TEST_CASE("linear of bfloat16 weights is that of the same weights in float32") {
  for (const std::string& isa : cpu::available_isas()) {
    CAPTURE(isa);
    for (int64_t t = 1; t <= 25; ++t) {  // two of the largest tiles, and one row more
      CAPTURE(t);
      check_shape(isa, t, 37, 261);
    }
    check_shape(isa, 3, 300, 513);
    check_shape(isa, 193, 7, 1);
  }
}

}  // namespace albert_fast::testing

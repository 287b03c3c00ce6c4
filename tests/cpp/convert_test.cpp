// Rounding to 16 bits, against the definition: the nearest of all 65536 numbers, and the even one of two.
#include "engine/convert.h"

#include <cmath>
#include <limits>
#include <vector>

#include "support.h"

namespace albert_fast::testing {
namespace {

struct Format {
  DType dtype;
  int exponent_bits, significand_bits;  // without the leading 1
};

constexpr Format kFormats[] = {{DType::kBFloat16, 8, 7}, {DType::kFloat16, 5, 10}};

/// The number that the bits mean, from the definition.
double value_of(const Format& f, uint16_t bits) {
  const int bias = (1 << (f.exponent_bits - 1)) - 1, scale = 1 << f.significand_bits;
  const int exponent = bits >> f.significand_bits & ((1 << f.exponent_bits) - 1), significand = bits & (scale - 1);
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == (1 << f.exponent_bits) - 1) {
    return significand ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
  }
  const double fraction = double(significand) / scale;
  return exponent == 0 ? sign * std::ldexp(fraction, 1 - bias) : sign * std::ldexp(1 + fraction, exponent - bias);
}

uint16_t round_one(DType dtype, float x) {
  uint16_t bits = 0;
  (void)to_stored(dtype, &x, 1, &bits);
  return bits;
}

}  // namespace

TEST_CASE("all 65536 numbers of either format widen to their value, and round back to themselves") {
  for (const Format& f : kFormats) {
    for (uint32_t i = 0; i < 65536; ++i) {
      const uint16_t bits = static_cast<uint16_t>(i);
      float wide;
      from_stored(f.dtype, &bits, 1, &wide);
      const double expected = value_of(f, bits);
      if (std::isnan(expected)) {
        CHECK(std::isnan(wide));
        CHECK(std::isnan(value_of(f, round_one(f.dtype, wide))));
        continue;
      }
      CHECK(double(wide) == expected);
      CHECK(round_one(f.dtype, wide) == bits);
    }
  }
}

TEST_CASE("what lies between two numbers goes to the nearer, from the middle to the even one") {
  for (const Format& f : kFormats) {
    const uint16_t largest = static_cast<uint16_t>((((1 << f.exponent_bits) - 1) << f.significand_bits) - 1);
    for (uint16_t bits = 0; bits < largest; ++bits) {
      const double below = value_of(f, bits), above = value_of(f, bits + 1), middle = (below + above) / 2;
      const uint16_t even = bits % 2 == 0 ? bits : bits + 1;
      CHECK(round_one(f.dtype, float(middle)) == even);
      CHECK(round_one(f.dtype, std::nextafter(float(middle), 0.0f)) == bits);
      CHECK(round_one(f.dtype, std::nextafter(float(middle), std::numeric_limits<float>::infinity())) == bits + 1);
      CHECK(round_one(f.dtype, -float(middle)) == (even | 0x8000));
    }
  }
}

TEST_CASE("what a format cannot hold is told") {
  const auto holds = [](DType dtype, std::vector<float> values) {
    std::vector<float> out(values.size());
    return to_stored(dtype, values.data(), int64_t(values.size()), out.data());
  };
  CHECK(holds(DType::kFloat16, {1, -65504, 65519.99f}));
  CHECK_FALSE(holds(DType::kFloat16, {1, 65520, 2}));
  CHECK(holds(DType::kBFloat16, {3.38e38f}));
  CHECK_FALSE(holds(DType::kBFloat16, {std::numeric_limits<float>::max()}));
  CHECK(holds(DType::kFloat32, {std::numeric_limits<float>::max()}));
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16, DType::kFloat32}) {
    CHECK_FALSE(holds(dtype, {0, std::numeric_limits<float>::quiet_NaN()}));
    CHECK_FALSE(holds(dtype, {-std::numeric_limits<float>::infinity(), 0}));
  }
}

}  // namespace albert_fast::testing

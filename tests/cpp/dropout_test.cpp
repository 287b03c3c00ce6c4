// Dropout's mask against Philox4x32-10 written out, at numbers that no tensor has, and apply_dropout on rows with gaps.
#include <array>

#include "support.h"

namespace albert_fast::cpu {

namespace math_probe_portable {
void mask_of(const Dropout& dropout, uint64_t first, float* mask);
}

}  // namespace albert_fast::cpu

namespace albert_fast::testing {
namespace {

using Words = std::array<uint32_t, 4>;

/// Salmon et al. 2011, section 3.3, as it stands there.
Words philox(Words counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t first = uint64_t{0xD2511F53} * counter[0], second = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(second >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(second),
               static_cast<uint32_t>(first >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(first)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

uint32_t word(const Dropout& dropout, uint64_t number) {
  const Words counter = {static_cast<uint32_t>(number / 4), static_cast<uint32_t>(number / 4 >> 32), dropout.stream, 0};
  return philox(counter, {static_cast<uint32_t>(dropout.seed), static_cast<uint32_t>(dropout.seed >> 32)})[number % 4];
}

template <typename T>
T expected_mask(const Dropout& dropout, uint64_t number) {
  const auto threshold = static_cast<uint32_t>(dropout.p * 4294967296.0);
  return word(dropout, number) >= threshold ? T(1 / (1 - dropout.p)) : T(0);
}

}  // namespace

TEST_CASE("Philox4x32-10 gives its published words") {
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
}

TEST_CASE("the mask of dropout starts at any number, and counters carry into their high word") {
  const Dropout dropout{0.3, 0x0123456789abcdef, 0xfedcba98};
  for (const uint64_t base : {uint64_t{0}, (uint64_t{1} << 34) - 8, uint64_t{1} << 50}) {
    for (uint64_t first = base; first < base + 16; ++first) {
      float mask[4];
      cpu::math_probe_portable::mask_of(dropout, first, mask);
      for (uint64_t i = 0; i < 4; ++i) CHECK(mask[i] == expected_mask<float>(dropout, first + i));
    }
  }
}

TEST_CASE_TEMPLATE("apply_dropout counts numbers without the gaps between rows", T, float, double) {
  const Dropout dropout{0.25, 77, 5};
  for (const int64_t cols : {1, 3, 16, 37, 68}) {
    for (const Ops* ops : backends<T>()) {
      CAPTURE(std::string(ops->name));
      Rng rng(0);
      const Tensor<T> x = Tensor<T>(35, cols, 3).fill(rng);
      Tensor<T> y(35, cols, 1);
      Threads threads(2);
      ops->apply_dropout({x.view(), dropout, {}, y.view(), ops->dtype}, threads);
      CHECK(y.surroundings_intact());
      for (int64_t i = 0; i < 35; ++i) {
        for (int64_t j = 0; j < cols; ++j) {
          REQUIRE(y.at(i, j) == x.at(i, j) * expected_mask<T>(dropout, static_cast<uint64_t>(i * cols + j)));
        }
      }
    }
  }
}

}  // namespace albert_fast::testing

// exp, tanh and the GELUs, number by number, as right as cpu/primitives/math.h says. The truth is the C library in
// double, whose error is a billionth of a float's roundoff. The GELUs and tanh are reached through linear with the
// weight 1.
#include <cmath>

#include "linear_call.h"
#include "support.h"

namespace albert_fast::cpu {

namespace math_probe_portable {
float exp_of(float x);
}
#if defined(__x86_64__)
namespace math_probe_fma {
float exp_of(float x);
}
#endif

}  // namespace albert_fast::cpu

namespace albert_fast::testing {
namespace {

/// Numbers of every magnitude and sign, and a finer grid where the functions bend.
std::vector<float> sweep() {
  std::vector<float> numbers{0.0f, -0.0f};
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 40009) {
    const float x = std::bit_cast<float>(static_cast<uint32_t>(bits));
    if (std::isfinite(x)) numbers.push_back(x);
  }
  for (int i = -100000; i <= 100000; ++i) numbers.push_back(float(i) * 1.5e-4f);
  numbers.push_back(std::numeric_limits<float>::max());
  numbers.push_back(std::numeric_limits<float>::lowest());
  return numbers;
}

double gelu_tanh(double x) { return x / (1 + std::exp(-1.5957691216057308 * x * (1 + 0.044715 * x * x))); }
double gelu_erf(double x) { return 0.5 * x * std::erfc(-x * 0.70710678118654752440); }

/// activation of each number, computed by `ops`.
std::vector<float> activations(const Ops& ops, Activation activation, const std::vector<float>& numbers) {
  const int64_t n = static_cast<int64_t>(numbers.size());
  const Tensor<float> x = as_tensor(numbers, n, 1), one = as_tensor<float>({1}, 1, 1);
  Tensor<float> y(n, 1);
  LinearCall<float>{ops, one, nullptr, activation, nullptr}.run(WeightForm::kPlain, x.view(), y, 1);
  return {y.data(), y.data() + n};
}

/// Where results are as small as this, errors are counted in absolute terms: x86 and ARM may treat subnormals
/// differently, and 1e-36 is nothing to a hidden state.
constexpr double kTiny = 1e-36;

/// allowed(x): the relative error, in roundoffs.
template <typename Exact, typename Allowed>
void check_activation(Activation activation, const Exact& exact, const Allowed& allowed) {
  const std::vector<float> numbers = sweep();
  for (const Ops* ops : backends<float>()) {
    CAPTURE(std::string(ops->name));
    const std::vector<float> results = activations(*ops, activation, numbers);
    double worst = 0, worst_x = 0;  // error over what is allowed
    for (size_t i = 0; i < numbers.size(); ++i) {
      const double x = numbers[i], expected = exact(x), error = std::fabs(results[i] - expected);
      const double ratio = error / std::max(kTiny, allowed(x) * kRoundoff<float> * std::fabs(expected));
      if (ratio <= worst) continue;  // NaN is not
      worst = ratio, worst_x = x;
      if (std::isnan(ratio)) break;
    }
    CAPTURE(worst_x);
    CHECK(worst <= 1);
  }
}

void check_exp(float (*exp_of)(float)) {
  for (const float x : sweep()) {
    const double expected = std::exp(double(x)), result = exp_of(x);
    CAPTURE(x);
    if (x < -87.3f) {
      REQUIRE(result == 0);
    } else if (x > 88.3f) {
      REQUIRE(result == exp_of(88.3f));
    } else {
      REQUIRE(std::fabs(result - expected) <= 2 * kRoundoff<float> * expected);
    }
  }
  CHECK(exp_of(0.0f) == 1);
  CHECK(exp_of(-std::numeric_limits<float>::infinity()) == 0);
  CHECK(exp_of(std::numeric_limits<float>::infinity()) == exp_of(88.3f));
  CHECK(std::isnan(exp_of(std::numeric_limits<float>::quiet_NaN())));
}

}  // namespace

TEST_CASE("exp is within 2 roundoffs") {
  check_exp(cpu::math_probe_portable::exp_of);
#if defined(__x86_64__)
  if (cpu::available_isas().front() != "portable") check_exp(cpu::math_probe_fma::exp_of);
#endif
}

TEST_CASE("gelu_tanh is within 3 roundoffs, times what exp magnifies below zero") {
  check_activation(Activation::kGeluTanh, gelu_tanh,
                   [](double x) { return x >= 0 ? 3 : 4 * (1 + 1.5957691216057308 * -x * (1 + 0.044715 * x * x)); });
}

TEST_CASE("gelu_erf is within 8 roundoffs, times what exp magnifies below zero") {
  check_activation(Activation::kGeluErf, gelu_erf, [](double x) { return x >= 0 ? 8 : 8 * (1 + x * x / 2); });
}

TEST_CASE("tanh is the C library's") {
  check_activation(Activation::kTanh, [](double x) { return std::tanh(x); }, [](double) { return 2; });
}

TEST_CASE("activations of zero, infinity and NaN") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> numbers{0.0f, -0.0f, kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()};
  for (const Ops* ops : backends<float>()) {
    CAPTURE(std::string(ops->name));
    for (const Activation activation : {Activation::kGeluTanh, Activation::kGeluErf, Activation::kTanh}) {
      const std::vector<float> results = activations(*ops, activation, numbers);
      CHECK(results[0] == 0);
      CHECK(results[1] == 0);
      CHECK(results[2] == (activation == Activation::kTanh ? 1 : kInfinity));
      if (activation == Activation::kTanh)
        CHECK(results[3] == -1);
      else
        CHECK_FALSE(std::fabs(results[3]) > kTiny);  // the limit is 0; NaN, as PyTorch has it, will do
      CHECK(std::isnan(results[4]));
    }
  }
}

}  // namespace albert_fast::testing

// exp, tanh, the GELUs and their derivatives, number by number, as right as cpu/primitives/math.h says. The truth is
// the C library in double, whose error is a billionth of a float's roundoff. The GELUs and tanh are reached through
// linear with the weight 1, derivatives through activate_grad with gradients of 1.
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

/// |results - exact(x)| <= allowed(x), number by number.
template <typename Exact, typename Allowed>
void check_numbers(const std::vector<float>& numbers, const std::vector<float>& results, const Exact& exact,
                   const Allowed& allowed) {
  double worst = 0, worst_x = 0;  // error over what is allowed
  for (size_t i = 0; i < numbers.size(); ++i) {
    const double x = numbers[i], ratio = std::fabs(results[i] - exact(x)) / allowed(x);
    if (ratio <= worst) continue;  // NaN is not
    worst = ratio, worst_x = x;
    if (std::isnan(ratio)) break;
  }
  CAPTURE(worst_x);
  CHECK(worst <= 1);
}

/// roundoffs(x): the relative error.
template <typename Exact, typename Roundoffs>
void check_activation(Activation activation, const Exact& exact, const Roundoffs& roundoffs) {
  const std::vector<float> numbers = sweep();
  for (const Ops* ops : backends<float>()) {
    CAPTURE(std::string(ops->name));
    check_numbers(numbers, activations(*ops, activation, numbers), exact,
                  [&](double x) { return std::max(kTiny, roundoffs(x) * kRoundoff<float> * std::fabs(exact(x))); });
  }
}

/// activation' of each number, computed by `ops`.
std::vector<float> slopes(const Ops& ops, Activation activation, const std::vector<float>& numbers) {
  const int64_t n = static_cast<int64_t>(numbers.size());
  const Tensor<float> x = as_tensor(numbers, n, 1), dy = as_tensor(std::vector<float>(numbers.size(), 1.0f), n, 1);
  Tensor<float> dx(n, 1);
  Threads threads(1);
  ops.activate_grad({x.view(), dy.view(), activation, dx.view(), {}}, threads);
  return {dx.data(), dx.data() + n};
}

/// A derivative as the sum of two terms; errors are relative to their magnitudes, since the sum crosses zero.
struct Terms {
  double first, second;
};

Terms gelu_tanh_slope(double x) {
  const double e = std::exp(-1.5957691216057308 * x * (1 + 0.044715 * x * x)), s = 1 / (1 + e);
  const double tail = std::isinf(e) ? 0 : x * s * (e * s) * 1.5957691216057308 * (1 + 3 * 0.044715 * x * x);
  return {s, std::isnan(tail) ? 0 : tail};  // e = 0, x^2 infinite
}

Terms gelu_erf_slope(double x) {
  return {0.5 * std::erfc(-x * 0.70710678118654752440), x * std::exp(-x * x / 2) * 0.39894228040143267794};
}

template <typename Exact, typename Roundoffs>
void check_slope(Activation activation, const Exact& terms, double tiny, const Roundoffs& roundoffs) {
  const std::vector<float> numbers = sweep();
  for (const Ops* ops : backends<float>()) {
    CAPTURE(std::string(ops->name));
    const auto exact = [&](double x) { return terms(x).first + terms(x).second; };
    check_numbers(numbers, slopes(*ops, activation, numbers), exact, [&](double x) {
      const double magnitude = std::fabs(terms(x).first) + std::fabs(terms(x).second);
      return std::max(tiny, roundoffs(x) * kRoundoff<float> * magnitude);
    });
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

TEST_CASE("the slope of gelu_tanh is within 6 roundoffs of its terms, times what exp magnifies") {
  check_slope(Activation::kGeluTanh, gelu_tanh_slope, 1e-35, [](double x) {
    return 6 * (1 + std::min(1e3, 1.5957691216057308 * std::fabs(x) * (1 + 0.044715 * x * x)));
  });
}

TEST_CASE("the slope of gelu_erf is within 8 roundoffs of its terms, times what exp magnifies") {
  check_slope(Activation::kGeluErf, gelu_erf_slope, kTiny, [](double x) { return 8 * (1 + std::min(1e3, x * x / 2)); });
}

TEST_CASE("the slope of tanh is within 6 roundoffs, however near 1 tanh is") {
  const auto slope = [](double x) { return Terms{std::pow(std::cosh(x), -2), 0}; };
  check_slope(Activation::kTanh, slope, kTiny, [](double) { return 6; });
}

TEST_CASE("slopes at zero, infinity and NaN") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> numbers{0.0f, -0.0f, kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()};
  for (const Ops* ops : backends<float>()) {
    CAPTURE(std::string(ops->name));
    for (const Activation activation : {Activation::kGeluTanh, Activation::kGeluErf, Activation::kTanh}) {
      const std::vector<float> results = slopes(*ops, activation, numbers);
      const bool is_tanh = activation == Activation::kTanh;
      CHECK(std::fabs(results[0] - (is_tanh ? 1 : 0.5)) <= 4 * kRoundoff<float>);
      CHECK(results[1] == results[0]);
      CHECK(results[2] == (is_tanh ? 0 : 1));
      CHECK(std::fabs(results[3]) <= 1e-35);
      CHECK(std::isnan(results[4]));
    }
  }
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

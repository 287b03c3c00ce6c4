// Floating point: arithmetic, roundings, NaN rules, conversions, the function unit.
#include <cfenv>
#include <cmath>
#include <limits>

#include "emulator/tests/support.h"

namespace emulator::test {
namespace {

const float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();

using Floats = Lanes<float, float, float, float>;

Floats some_floats() {
  Floats x{random_floats(32, 4.f), random_floats(32, 1e-3f), random_floats(32), random_floats(32)};
  const float special[] = {0.f, -0.f, kInf, -kInf, kNan, 1e-40f, 3.4e38f, 1.f};
  for (int i = 0; i < 8; ++i) x.a[i] = x.b[(i * 3 + 1) % 32] = x.c[(i * 5 + 2) % 32] = special[i];
  return x;
}

bool agree(float a, float b) { return (a != a && b != b) || same_bits(a, b); }

template <class F>
void check_floats(const std::string& instruction, F f) {
  CAPTURE(instruction);
  for (int round = 0; round < 4; ++round) {
    const Floats y = run_lanes(instruction, some_floats());
    for (int l = 0; l < 32; ++l) {
      CAPTURE(y.a[l]);
      CAPTURE(y.b[l]);
      CAPTURE(y.c[l]);
      const float expected = f(y.a[l], y.b[l], y.c[l]);
      CHECK_MESSAGE(agree(y.d[l], expected), y.d[l], " but expected ", expected);
    }
  }
}

TEST_CASE("f32 arithmetic") {
  check_floats("add.f32 %d, %a, %b;", [](float a, float b, float) { return a + b; });
  check_floats("mul.rn.f32 %d, %a, %b;", [](float a, float b, float) { return a * b; });
  check_floats("div.rn.f32 %d, %a, %b;", [](float a, float b, float) { return a / b; });
  check_floats("fma.rn.f32 %d, %a, %b, %c;", [](float a, float b, float c) { return std::fma(a, b, c); });
  check_floats("neg.f32 %d, %a;", [](float a, float, float) { return -a; });
  check_floats("add.sat.f32 %d, %a, %b;", [](float a, float b, float) {
    const float s = a + b;
    return s > 0 ? std::min(s, 1.f) : 0.f;
  });
  check_floats("mul.ftz.f32 %d, %a, %b;", [](float a, float b, float) {
    const auto flush = [](float x) { return std::abs(x) < 0x1p-126f ? std::copysign(0.f, x) : x; };
    return flush(flush(a) * flush(b));
  });
}

TEST_CASE("max and min prefer numbers, unless .NaN asks for the opposite") {
  check_floats("max.f32 %d, %a, %b;", [](float a, float b, float) {
    return a != a ? b : b != b ? a : (a == 0 && b == 0) ? (std::signbit(a) ? b : a) : std::max(a, b);
  });
  check_floats("min.f32 %d, %a, %b;", [](float a, float b, float) {
    return a != a ? b : b != b ? a : (a == 0 && b == 0) ? (std::signbit(a) ? a : b) : std::min(a, b);
  });
  check_floats("max.NaN.f32 %d, %a, %b;", [](float a, float b, float) {
    return a != a || b != b ? kNan : (a == 0 && b == 0) ? (std::signbit(a) ? b : a) : std::max(a, b);
  });
}

float rounded(int mode, float a, float b, float c) {
  volatile float x = a, y = b, z = c;
  std::fesetround(mode);
  volatile float r = std::fma(x, y, z);
  std::fesetround(FE_TONEAREST);
  return r;
}

TEST_CASE("directed roundings of fma") {
  check_floats("fma.rz.f32 %d, %a, %b, %c;", [](float a, float b, float c) { return rounded(FE_TOWARDZERO, a, b, c); });
  check_floats("fma.rm.f32 %d, %a, %b, %c;", [](float a, float b, float c) { return rounded(FE_DOWNWARD, a, b, c); });
  check_floats("fma.rp.f32 %d, %a, %b, %c;", [](float a, float b, float c) { return rounded(FE_UPWARD, a, b, c); });
}

TEST_CASE("the function unit, within two units of the last place") {
  const auto near = [](const std::string& instruction, double (*f)(double)) {
    CAPTURE(instruction);
    const Floats y = run_lanes(instruction, some_floats());
    for (int l = 0; l < 32; ++l) {
      const auto expected = static_cast<float>(f(y.a[l]));
      CAPTURE(y.a[l]);
      if (std::abs(expected) < 1e-37f && std::abs(y.d[l]) < 1e-37f) continue;  // flushed
      if (expected != expected || std::isinf(expected))
        CHECK(agree(y.d[l], expected));
      else
        CHECK(std::abs(y.d[l] - expected) <= std::abs(expected) * 0x1p-22f);
    }
  };
  near("ex2.approx.ftz.f32 %d, %a;", [](double x) { return std::exp2(std::abs(x) < 0x1p-126 ? 0.0 : x); });
  near("abs.f32 %d, %a; lg2.approx.f32 %d, %d;", [](double x) { return std::log2(std::abs(x)); });
  near("rcp.rn.f32 %d, %a;", [](double x) { return 1 / x; });
  near("sqrt.rn.f32 %d, %a;", [](double x) { return std::sqrt(x); });
  near("rsqrt.approx.f32 %d, %a;", [](double x) { return 1 / std::sqrt(x); });
  near("tanh.approx.f32 %d, %a;", [](double x) { return std::tanh(x); });
}

TEST_CASE("comparisons of floats: ordered and unordered") {
  const auto check = [](const char* name, bool (*f)(float, float)) {
    CAPTURE(name);
    const Floats y = run_lanes(
        std::string("setp.") + name + ".f32 %p1, %a, %b; selp.f32 %d, 0f3F800000, 0f00000000, %p1;", some_floats());
    for (int l = 0; l < 32; ++l) CHECK(y.d[l] == (f(y.a[l], y.b[l]) ? 1.f : 0.f));
  };
  check("lt", [](float a, float b) { return a < b; });
  check("neu", [](float a, float b) { return a != b; });
  check("ne", [](float a, float b) { return a == a && b == b && a != b; });
  check("geu", [](float a, float b) { return !(a < b); });
  check("nan", [](float a, float b) { return a != a || b != b; });
}

TEST_CASE("float to half and back: every half survives, and rounding is to nearest even") {
  for (uint32_t first = 0; first < 65536; first += 32) {
    Lanes<uint16_t, uint16_t, uint16_t, uint16_t> x{std::vector<uint16_t>(32), random_bits<uint16_t>(),
                                                    random_bits<uint16_t>(), random_bits<uint16_t>()};
    for (int l = 0; l < 32; ++l) x.a[l] = static_cast<uint16_t>(first + l);
    if (first % 2048 != 0 && first != 31 * 1024) continue;  // subnormal, normal, infinite, NaN: a sample of each
    const auto y = run_lanes("cvt.f32.f16 %f1, %a; cvt.rn.f16.f32 %d, %f1;", x);
    const auto z = run_lanes("cvt.f32.bf16 %f1, %a; cvt.rn.bf16.f32 %d, %f1;", x);
    for (int l = 0; l < 32; ++l) {
      const bool half_nan = (x.a[l] & 0x7fff) > 0x7c00, brain_nan = (x.a[l] & 0x7fff) > 0x7f80;
      CHECK(y.d[l] == (half_nan ? 0x7fff : x.a[l]));
      CHECK(z.d[l] == (brain_nan ? 0x7fff : x.a[l]));
    }
  }
  Lanes<uint32_t, float, float, float> pair{random_floats(32), random_floats(32), random_floats(32),
                                            random_bits<uint32_t>()};
  const auto y = run_lanes("cvt.rn.bf16x2.f32 %d, %a, %b;", pair);
  for (int l = 0; l < 32; ++l) CHECK(y.d[l] == (bf16_bits(y.b[l]) | uint32_t{bf16_bits(y.a[l])} << 16));
}

TEST_CASE("float to integer clamps, rounds as asked, and makes 0 of NaN") {
  const auto check = [](const char* rounding, double (*f)(double)) {
    Lanes<int32_t, float, float, float> x{some_floats().a, random_floats(32), random_floats(32),
                                          random_bits<int32_t>()};
    const auto y = run_lanes(std::string("cvt.") + rounding + ".s32.f32 %d, %a;", x);
    for (int l = 0; l < 32; ++l) {
      const double r = f(y.a[l]);
      const int32_t expected = r != r ? 0 : r >= 0x1p31 ? INT32_MAX : r < -0x1p31 ? INT32_MIN : static_cast<int32_t>(r);
      CHECK(y.d[l] == expected);
    }
  };
  check("rni", [](double x) { return std::nearbyint(x); });
  check("rzi", [](double x) { return std::trunc(x); });
  check("rmi", [](double x) { return std::floor(x); });
  check("rpi", [](double x) { return std::ceil(x); });
  check_bits<float, int32_t, int32_t, int32_t>("cvt.rn.f32.s32 %d, %a;",
                                               [](int32_t a, int32_t, int32_t) { return static_cast<float>(a); });
  check_bits<float, uint64_t, int32_t, int32_t>("cvt.rn.f32.u64 %d, %a;",
                                                [](uint64_t a, int32_t, int32_t) { return static_cast<float>(a); });
  check_bits<int64_t, int32_t, int32_t, int32_t>("cvt.s64.s32 %d, %a;",
                                                 [](int32_t a, int32_t, int32_t) { return int64_t{a}; });
  check_bits<int32_t, int32_t, int32_t, int32_t>(
      "cvt.s32.s8 %d, %a;", [](int32_t a, int32_t, int32_t) { return int32_t{static_cast<int8_t>(a)}; });
}

TEST_CASE("half arithmetic, one and two to a register") {
  Lanes<uint32_t, uint32_t, uint32_t, uint32_t> x{std::vector<uint32_t>(32), std::vector<uint32_t>(32),
                                                  std::vector<uint32_t>(32), random_bits<uint32_t>()};
  const auto random_pair = [] {
    return bf16_bits(random_floats(1)[0]) | uint32_t{bf16_bits(random_floats(1)[0])} << 16;
  };
  for (auto* v : {&x.a, &x.b, &x.c}) std::generate(v->begin(), v->end(), random_pair);
  const auto y = run_lanes("fma.rn.bf16x2 %d, %a, %b, %c;", x);
  for (int l = 0; l < 32; ++l) {
    for (int shift : {0, 16}) {
      const auto value = [&](uint32_t bits) { return bf16_value(static_cast<uint16_t>(bits >> shift)); };
      const double exact = double{value(y.a[l])} * value(y.b[l]) + value(y.c[l]);
      const float got = value(y.d[l]);
      CHECK(std::abs(got - exact) <= std::abs(exact) * 0x1p-8);
    }
  }
  const auto sum = run_lanes(
      "mov.b32 {%h1, %h2}, %a; mov.b32 {%h3, %h4}, %b; max.bf16 %h5, %h1, %h3; max.bf16 %h6, %h2, %h4; mov.b32 %d, "
      "{%h5, %h6};",
      x);
  for (int l = 0; l < 32; ++l)
    CHECK(bf16_value(static_cast<uint16_t>(sum.d[l])) ==
          std::max(bf16_value(static_cast<uint16_t>(x.a[l])), bf16_value(static_cast<uint16_t>(x.b[l]))));
}

TEST_CASE("f64 arithmetic") {
  std::vector<double> a(32), b(32), c(32);
  for (auto* v : {&a, &b, &c}) std::generate(v->begin(), v->end(), [] { return random_floats(1)[0] * 1.1; });
  const auto y = run_lanes("fma.rn.f64 %d, %a, %b, %c;", Lanes<double, double, double, double>{a, b, c, a});
  for (int l = 0; l < 32; ++l) CHECK(y.d[l] == std::fma(a[l], b[l], c[l]));
}

TEST_CASE("set: comparisons that make numbers, for one and for two to a register") {
  check_floats("set.lt.f32.f32 %d, %a, %b;", [](float a, float b, float) { return a < b ? 1.f : 0.f; });
  Lanes<uint32_t, uint32_t, uint32_t, uint32_t> x{random_bits<uint32_t>(), random_bits<uint32_t>(),
                                                  random_bits<uint32_t>(), random_bits<uint32_t>()};
  for (int l = 0; l < 32; l += 3) x.b[l] = x.a[l] ^ (l % 2 ? 0x8000 : 0);
  const auto y = run_lanes("set.geu.bf16x2.bf16x2 %d, %a, %b;", x);
  const auto z = run_lanes("setp.geu.bf16x2 %p1|%p2, %a, %b; selp.u32 %d, 1, 0, %p1; @%p2 add.u32 %d, %d, 2;", x);
  for (int l = 0; l < 32; ++l) {
    const auto holds = [&](int shift) {
      return !(bf16_value(static_cast<uint16_t>(x.a[l] >> shift)) < bf16_value(static_cast<uint16_t>(x.b[l] >> shift)));
    };
    CHECK(y.d[l] == (holds(0) ? 0x3f80u : 0) + (holds(16) ? 0x3f800000u : 0));
    CHECK(z.d[l] == holds(0) + 2u * holds(16));
  }
}

}  // namespace
}  // namespace emulator::test

// linear against the straightforward loop: every activation, both weight forms, bias and residual or none, strides.
#include "linear_call.h"
#include "reference.h"
#include "support.h"

namespace albert_fast::testing {
namespace {

struct Shape {
  int64_t t, n, k;
  Activation activation = Activation::kNone;
  bool bias = true, residual = true;
  int64_t gap = 0;  // between rows of x, residual and y
};

// Rows around the tiles (6, 12) and chunks (192), columns around the panels (8 .. 32) and groups of panels, depths
// around the block (256); every activation with whole and with partial vectors.
const Shape kShapes[] = {
    {1, 1, 1},
    {1, 1000, 257},
    {5, 7, 255, Activation::kGeluTanh},
    {6, 31, 256, Activation::kGeluErf, true, true, 3},
    {7, 33, 257, Activation::kTanh, true, false},
    {13, 257, 700, Activation::kNone, false, true, 5},
    {13, 1, 1000, Activation::kNone, false, false},
    {191, 33, 31, Activation::kGeluErf, false, false, 1},
    {193, 31, 257, Activation::kGeluTanh, true, false, 7},
    {400, 7, 33, Activation::kTanh, true, true},
    {6, 1000, 1, Activation::kGeluTanh, false, true},
    {193, 257, 7},
    {3, 64, 4096},
};

template <typename T>
struct Problem {
  Tensor<T> x, weight, bias, residual;

  Problem(const Shape& s, Rng& rng) : x(s.t, s.k, s.gap), weight(s.n, s.k), bias(1, s.n), residual(s.t, s.n, s.gap) {
    x.fill(rng);
    weight.fill(rng, 1 / std::sqrt(double(s.k)));
    bias.fill(rng);
    residual.fill(rng);
  }
};

template <typename T>
void check_shape(const Shape& shape) {
  const std::vector<const Ops*> tables = backends<T>();
  std::vector<ErrorBound<T>> bounds(tables.size());
  for (int seed = 0; seed < kSeeds<T>; ++seed) {
    Rng rng(seed);
    const Problem<T> p(shape, rng);
    const Tensor<T>* bias = shape.bias ? &p.bias : nullptr;
    const Tensor<T>* residual = shape.residual ? &p.residual : nullptr;
    const auto exact = linear<Exact<T>>(p.x, p.weight, bias, shape.activation, residual);
    const auto plain_loop = linear<T>(p.x, p.weight, bias, shape.activation, residual);
    const double straightforward = rel_l2(as_tensor(plain_loop, shape.t, shape.n), exact);
    for (size_t i = 0; i < tables.size(); ++i) {
      CAPTURE(std::string(tables[i]->name));
      const LinearCall<T> call{*tables[i], p.weight, bias, shape.activation, residual};
      Tensor<T> packed(shape.t, shape.n, shape.gap), plain(shape.t, shape.n, shape.gap);
      call.run(WeightForm::kPacked, p.x.view(), packed, 2);
      call.run(WeightForm::kPlain, p.x.view(), plain, 1);
      CHECK(identical(packed, plain));
      CHECK(packed.surroundings_intact());
      CHECK(plain.surroundings_intact());
      bounds[i].add(rel_l2(packed, exact), straightforward);
    }
  }
  for (size_t i = 0; i < tables.size(); ++i) {
    CAPTURE(std::string(tables[i]->name));
    bounds[i].check();
  }
}

}  // namespace

TEST_CASE_TEMPLATE("linear is as right as the straightforward loop", T, float, double) {
  for (const Shape& shape : kShapes) {
    CAPTURE(shape.t);
    CAPTURE(shape.n);
    CAPTURE(shape.k);
    check_shape<T>(shape);
  }
}

TEST_CASE("linear of no rows writes nothing") {
  for (const Ops* ops : backends<float>()) {
    Rng rng(0);
    const Tensor<float> weight = Tensor<float>(5, 3).fill(rng), x(0, 3);
    Tensor<float> y(0, 5);
    const LinearCall<float> call{*ops, weight, nullptr, Activation::kNone, nullptr};
    call.run(WeightForm::kPacked, x.view(), y, 2);
    CHECK(y.surroundings_intact());
  }
}

TEST_CASE("linear does not hide a NaN or an infinity") {
  for (const Ops* ops : backends<float>()) {
    CAPTURE(std::string(ops->name));
    Rng rng(0);
    const Tensor<float> weight = Tensor<float>(40, 300).fill(rng);
    Tensor<float> x = Tensor<float>(9, 300).fill(rng), y(9, 40);
    x.at(4, 299) = std::numeric_limits<float>::quiet_NaN();
    x.at(7, 0) = std::numeric_limits<float>::infinity();
    for (const Activation activation : {Activation::kNone, Activation::kGeluTanh, Activation::kGeluErf}) {
      LinearCall<float>{*ops, weight, nullptr, activation, nullptr}.run(WeightForm::kPacked, x.view(), y, 1);
      for (int64_t n = 0; n < 40; ++n) {
        CHECK(std::isnan(y.at(4, n)));
        CHECK(std::isfinite(y.at(5, n)));
        if (weight.at(n, 0) > 0) CHECK(std::isinf(y.at(7, n)));
      }
    }
  }
}

}  // namespace albert_fast::testing

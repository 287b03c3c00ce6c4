// The encoder's backward pass over the plain loops of the float64 table, beside differences of its forward pass, for
// every policy: every element of every gradient. Under ASan, its memory too.
#include "engine/training.h"

#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <vector>

#include "cpu/runtime/executor.h"
#include "cpu/table.h"
#include "engine/device_buffer.h"
#include "kernels/errors.h"

namespace albert_fast {
namespace {

constexpr int64_t kHidden = 6, kIntermediate = 7, kTokens = 5;
const std::vector<int32_t> kLayers = {0, 1, 1, 0};

/// An encoder of two parameter sets, whose loss is a fixed weighting of its output.
struct Model {
  explicit Model(KeepPolicy keep)
      : ops(cpu::find_ops("", DType::kFloat64)),
        engine(ops, {kHidden, kIntermediate, 2, Activation::kGeluTanh, 1e-12, 0.25, 0.25}, kLayers, keep),
        layout(engine.layer().gradient_layout()),
        workspace(ops) {
    std::mt19937_64 random(1);
    std::normal_distribution<double> normal;
    for (auto* values : {&x, &weighting}) {
      values->resize(kTokens * kHidden);
      for (double& value : *values) value = normal(random);
    }
    for (auto& set : parameters) {
      set.resize(layout.size());
      for (double& value : set) value = 0.4 * normal(random);
    }
  }

  TrainingCall call(std::vector<double>& saved) const {
    saved.resize(engine.saved_bytes(kTokens) / sizeof(double), NAN);
    TrainingCall call{{0, 3, 3, 5}, {}, 7, saved.data()};
    for (const auto& set : parameters) {
      LayerParameters tensors;
      for (int i = 0; i < kLayerTensors; ++i) tensors[i] = set.data() + layout.offset(static_cast<LayerTensor>(i));
      call.parameters.push_back(tensors);
    }
    return call;
  }

  double loss(std::vector<double>& saved) {
    std::vector<double> y(x.size(), NAN);
    engine.forward(call(saved), {x.data(), kTokens, kHidden, kHidden}, {y.data(), kTokens, kHidden, kHidden}, workspace,
                   stream());
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * weighting[i];
    return sum;
  }

  /// The difference of the loss by one number, which is put back.
  double difference(double& value) {
    constexpr double kStep = 1e-6;
    std::vector<double> saved;
    const double before = value;
    value = before + kStep;
    const double above = loss(saved);
    value = before - kStep;
    const double below = loss(saved);
    value = before;
    return (above - below) / (2 * kStep);
  }

  Stream stream() { return {&executor}; }

  const Ops& ops;
  EncoderTraining engine;
  GradientLayout layout;
  DeviceBuffer workspace;
  cpu::Executor executor{2, {}};
  std::vector<double> x, weighting, parameters[2];
};

void check_gradients(KeepPolicy keep, int64_t chunk) {
  Model model(keep);
  std::vector<double> saved, dx(model.x.size(), NAN), gradients[2];
  model.loss(saved);
  for (auto& gradient : gradients) gradient.resize(model.layout.size(), NAN);
  model.engine.backward(model.call(saved), {model.weighting.data(), kTokens, kHidden, kHidden},
                        {dx.data(), kTokens, kHidden, kHidden}, {gradients[0].data(), gradients[1].data()}, chunk,
                        model.workspace, model.stream());
  const auto check = [&](std::vector<double>& values, const std::vector<double>& gradient) {
    for (size_t i = 0; i < values.size(); ++i) {
      CAPTURE(i);
      CHECK(gradient[i] == doctest::Approx(model.difference(values[i])).epsilon(1e-5).scale(1));
    }
  };
  check(model.x, dx);
  for (int set = 0; set < 2; ++set) check(model.parameters[set], gradients[set]);
}

TEST_CASE("gradients are the differences of the loss, whatever is kept and however many layers a product has") {
  for (const int64_t every : {0, 1, 2, 3}) {
    for (const int64_t chunk : {1, 2, 4}) {
      CAPTURE(every);
      CAPTURE(chunk);
      check_gradients({every}, chunk);
    }
  }
}

TEST_CASE("an encoder without layers, or with a set that no layer has, is refused") {
  const Ops& ops = cpu::find_ops("", DType::kFloat64);
  const LayerShape shape{kHidden, kIntermediate, 2, Activation::kGeluTanh, 1e-12, 0, 0};
  CHECK_THROWS_AS(EncoderTraining(ops, shape, {}, {}), InvalidInputError);
  CHECK_THROWS_AS(EncoderTraining(ops, shape, {1}, {}), InvalidInputError);
  CHECK_THROWS_AS(EncoderTraining(ops, shape, {0, -1}, {}), InvalidInputError);
  CHECK_THROWS_AS(EncoderTraining(ops, shape, {0}, {-1}), InvalidInputError);
  CHECK_THROWS_AS(EncoderTraining(cpu::find_ops("", DType::kInt8), shape, {0}, {}), ConfigError);
}

}  // namespace
}  // namespace albert_fast

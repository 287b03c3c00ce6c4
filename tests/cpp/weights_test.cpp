// WeightBuffer: writing in pieces, reading back, and everything that is refused.
#include "engine/weights.h"

#include "filled_weights.h"
#include "kernels/errors.h"
#include "presets.h"
#include "support.h"

namespace albert_fast::testing {
namespace {

const std::string kQuery = "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.query.weight";  // [30, 30]

WeightBuffer empty_buffer() {
  return {WeightLayout(small_model(), {.pooler = true}, WeightForm::kPacked, DType::kFloat32),
          cpu::find_ops("portable", DType::kFloat32)};
}

}  // namespace

TEST_CASE_TEMPLATE("every tensor comes back as it was written, in either form", T, float, double) {
  for (const Ops* ops : backends<T>()) {
    for (const WeightForm form : {WeightForm::kPlain, WeightForm::kPacked}) {
      const WeightLayout layout(small_model(2, 2), {true, true, true}, form, kDType<T>);
      WeightBuffer buffer(layout, *ops);
      CHECK(buffer.missing().size() == layout.tensors().size());
      const std::vector<Tensor<T>> written = fill<T>(buffer, 7);
      CHECK(buffer.missing().empty());
      for (size_t i = 0; i < written.size(); ++i) {
        Tensor<T> back(written[i].rows(), written[i].cols(), 3);
        buffer.read(layout.tensors()[i].name, back.view(), Stream{});
        CHECK(identical(back, written[i]));
        CHECK(back.surroundings_intact());
      }
    }
  }
}

TEST_CASE("a tensor is missing until its last row is there") {
  WeightBuffer buffer = empty_buffer();
  fill<float>(buffer, 7, kQuery);
  CHECK(buffer.missing() == std::vector<std::string>{kQuery});
  Rng rng(0);
  const Tensor<float> rows = Tensor<float>(30, 30).fill(rng);
  buffer.write(kQuery, 13, rows.view(0, 17), Stream{});
  buffer.write(kQuery, 1, rows.view(0, 12), Stream{});
  buffer.write(kQuery, 1, rows.view(0, 0), Stream{});
  CHECK(buffer.missing() == std::vector<std::string>{kQuery});
  buffer.write(kQuery, 0, rows.view(0, 1), Stream{});
  CHECK(buffer.missing().empty());
}

TEST_CASE("rows that are not the tensor's are refused") {
  WeightBuffer buffer = empty_buffer();
  Rng rng(0);
  const Tensor<float> rows = Tensor<float>(31, 30).fill(rng), narrow = Tensor<float>(2, 29).fill(rng);
  const auto refused = [&](const std::string& name, int64_t first, ConstMatrix m, const std::string& message) {
    CAPTURE(message);
    CHECK_THROWS_AS(buffer.write(name, first, m, Stream{}), InvalidInputError);
    CHECK_THROWS_WITH(buffer.write(name, first, m, Stream{}), doctest::Contains(message.c_str()));
  };
  refused("albert.pooler.weigth", 0, rows.view(), "albert.pooler.weigth");
  refused("", 0, rows.view(), "name: got ''");
  refused(kQuery, 0, rows.view(), kQuery);
  refused(kQuery, 30, rows.view(0, 1), kQuery);
  refused(kQuery, -1, rows.view(0, 1), kQuery);
  refused(kQuery, std::numeric_limits<int64_t>::max(), rows.view(0, 1), kQuery);
  refused(kQuery, std::numeric_limits<int64_t>::min(), rows.view(0, 1), kQuery);
  refused(kQuery, 0, narrow.view(), "of 29 numbers");
  Tensor<float> out(31, 30);
  CHECK_THROWS_AS(buffer.read(kQuery, out.view(), Stream{}), InvalidInputError);
  CHECK_THROWS_AS(buffer.read("nothing", out.view(), Stream{}), InvalidInputError);
}

TEST_CASE_TEMPLATE("a number that is not finite is refused, wherever it stands", T, float, double) {
  WeightBuffer buffer(WeightLayout(small_model(), {}, WeightForm::kPacked, kDType<T>), *backends<T>().front());
  Rng rng(0);
  for (const T bad :
       {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity(), -std::numeric_limits<T>::infinity()}) {
    for (const auto& [i, j] : {std::pair{0, 0}, std::pair{29, 29}, std::pair{17, 3}}) {
      Tensor<T> rows = Tensor<T>(30, 30, 2).fill(rng);
      rows.at(i, j) = bad;
      CHECK_THROWS_AS(buffer.write(kQuery, 0, rows.view(), Stream{}), CheckpointError);
      CHECK_THROWS_WITH(buffer.write(kQuery, 0, rows.view(), Stream{}), doctest::Contains(kQuery.c_str()));
    }
  }
  Tensor<T> extreme = Tensor<T>(30, 30, 2).fill(rng);  // and the gap is full of NaN, which is nobody's weight
  extreme.at(3, 3) = std::numeric_limits<T>::max();
  extreme.at(4, 4) = -std::numeric_limits<T>::denorm_min();
  CHECK_NOTHROW(buffer.write(kQuery, 0, extreme.view(), Stream{}));
  CHECK(buffer.missing().front() != kQuery);
}

TEST_CASE("a slot that does not exist is a programming error") {
  CHECK_THROWS_AS(empty_buffer().weight("layer.1.0.qkv.weight"), std::logic_error);
}

}  // namespace albert_fast::testing

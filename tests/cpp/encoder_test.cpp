// The encoder: sequences at different depths in one batch give the bits they give alone.
#include "engine/encoder.h"

#include "attention_call.h"
#include "filled_weights.h"
#include "kernels/errors.h"
#include "presets.h"
#include "support.h"

namespace albert_fast::testing {
namespace {

constexpr Heads kAllHeads{.pooler = true, .mlm = true, .sop = true};

template <typename T>
WeightBuffer random_weights(const ModelConfig& config, const Ops& ops, WeightForm form = WeightForm::kPacked) {
  WeightBuffer weights(WeightLayout(config, kAllHeads, form, kDType<T>), ops);
  fill<T>(weights, 3);
  return weights;
}

/// Sequences of these lengths; the text depends on `seed`.
struct Text {
  std::vector<int32_t> tokens, positions, types, cu_seqlens;

  Text(const std::vector<int32_t>& lengths, uint64_t seed) : cu_seqlens(offsets(lengths)) {
    Rng rng(seed);
    for (const int32_t length : lengths) {
      for (int32_t t = 0; t < length; ++t) {
        tokens.push_back(static_cast<int32_t>(rng() % 50));
        positions.push_back(t);
        types.push_back(2 * t >= length);
      }
    }
  }
  RaggedBatch batch() const {
    return {tokens.data(),     positions.data(),       types.data(),
            cu_seqlens.data(), int64_t(tokens.size()), int64_t(cu_seqlens.size()) - 1};
  }
};

template <typename T>
Tensor<T> hidden_states(const Encoder& encoder, const Session& session) {
  const Matrix states = encoder.hidden_states(session);
  Tensor<T> copy(states.rows, states.cols);
  for (int64_t i = 0; i < states.rows; ++i) std::copy_n(states.row<T>(i), states.cols, &copy.at(i, 0));
  return copy;
}

/// `iterations` of them, or fewer if the batch is done.
void advance(const Encoder& encoder, Session& session, int iterations, Stream stream) {
  for (int i = 0; i < iterations && encoder.advance(session, stream); ++i) {
  }
}

template <typename T>
Tensor<T> encode(const Encoder& encoder, const Text& text, int threads = 1) {
  Threads stream(threads);
  Session session(encoder.ops());
  encoder.embed(text.batch(), session, stream);
  advance(encoder, session, 1000, stream);
  return hidden_states<T>(encoder, session);
}

/// Whether `part` is, bit for bit, what stands in `whole` from row `first` on.
template <typename T>
bool stands_at(const Tensor<T>& whole, int64_t first, const Tensor<T>& part) {
  for (int64_t i = 0; i < part.rows(); ++i) {
    if (std::memcmp(&whole.at(first + i, 0), &part.at(i, 0), part.cols() * sizeof(T)) != 0) return false;
  }
  return first + part.rows() <= whole.rows();
}

template <typename T>
void check_depths(const ModelConfig& config, const Ops& ops, int threads) {
  const WeightBuffer weights = random_weights<T>(config, ops);
  const Encoder encoder(weights);
  Threads stream(threads);
  const Text texts[] = {Text({5, 70}, 0), Text({13, 0, 1}, 1), Text({66}, 2)};
  const int depths[] = {0, 5, 11};
  std::vector<Session> sessions;
  for (int i = 0; i < 3; ++i) {
    sessions.emplace_back(ops);
    encoder.embed(texts[i].batch(), sessions[i], stream);
    advance(encoder, sessions[i], depths[i], stream);
  }
  Session joined(ops);
  encoder.join({&sessions[0], &sessions[1], &sessions[2]}, joined);
  CHECK(joined.progress().depths == std::vector<int32_t>{0, 0, 5, 5, 5, 11});
  CHECK(joined.progress().cu_seqlens == std::vector<int32_t>{0, 5, 75, 88, 88, 89, 155});

  int iterations = 0;
  while (encoder.advance(joined, stream)) ++iterations;
  CHECK(iterations == config.num_hidden_layers);
  const Tensor<T> whole = hidden_states<T>(encoder, joined);
  CHECK(stands_at(whole, 0, encode<T>(encoder, texts[0])));
  CHECK(stands_at(whole, 75, encode<T>(encoder, texts[1])));
  CHECK(stands_at(whole, 89, encode<T>(encoder, texts[2])));
}

}  // namespace

TEST_CASE_TEMPLATE("sequences at depths 0, 5 and 11 in one batch equal each alone", T, float, double) {
  for (const Ops* ops : backends<T>()) {
    CAPTURE(std::string(ops->name));
    check_depths<T>(small_model(), *ops, 1);
    check_depths<T>(small_model(2, 2), *ops, 2);
    check_depths<T>(small_model(5, 1), *ops, 3);
  }
}

TEST_CASE("both forms of the weights give the same bits") {
  for (const Ops* ops : backends<float>()) {
    const WeightBuffer packed = random_weights<float>(small_model(), *ops),
                       plain = random_weights<float>(small_model(), *ops, WeightForm::kPlain);
    const Text text({9, 65}, 4);
    CHECK(identical(encode<float>(Encoder(packed), text), encode<float>(Encoder(plain), text, 3)));
  }
}

TEST_CASE("a session is as good as new for its next batch") {
  const Ops& ops = *backends<float>().front();
  const WeightBuffer weights = random_weights<float>(small_model(), ops);
  const Encoder encoder(weights);
  Threads stream(2);
  Session session(ops);
  for (const auto& lengths : std::vector<std::vector<int32_t>>{{80, 80}, {3}, {}, {0, 0}, {77, 2}}) {
    const Text text(lengths, lengths.size());
    encoder.embed(text.batch(), session, stream);
    advance(encoder, session, 1000, stream);
    CHECK(identical(hidden_states<float>(encoder, session), encode<float>(encoder, text)));
    CHECK_FALSE(encoder.advance(session, stream));
  }
}

TEST_CASE("groups have weights of their own") {
  const Ops& ops = *backends<float>().front();
  const WeightBuffer one = random_weights<float>(small_model(1), ops), two = random_weights<float>(small_model(2), ops);
  const Encoder shared(one), grouped(two);
  Threads stream(1);
  const Text text({20}, 0);
  Session a(ops), b(ops);
  shared.embed(text.batch(), a, stream);
  grouped.embed(text.batch(), b, stream);
  advance(shared, a, 6, stream);
  advance(grouped, b, 6, stream);
  CHECK(identical(hidden_states<float>(shared, a), hidden_states<float>(grouped, b)));
  advance(shared, a, 1, stream);
  advance(grouped, b, 1, stream);
  CHECK_FALSE(identical(hidden_states<float>(shared, a), hidden_states<float>(grouped, b)));
}

TEST_CASE_TEMPLATE("each row of the heads is the same alone", T, float, double) {
  for (const Ops* ops : backends<T>()) {
    const WeightBuffer weights = random_weights<T>(small_model(), *ops);
    const Encoder encoder(weights);
    Rng rng(0);
    const Tensor<T> x = Tensor<T>(20, 30).fill(rng);
    const std::pair<int64_t, void (Encoder::*)(ConstMatrix, Matrix, Session&, Stream) const> heads[] = {
        {30, &Encoder::pooler}, {50, &Encoder::mlm_logits}, {2, &Encoder::sop_logits}};
    for (const auto& [cols, head] : heads) {
      Session session(*ops);
      Threads one(1), three(3);
      Tensor<T> together(20, cols);
      (encoder.*head)(x.view(), together.view(), session, three);
      CHECK(together.surroundings_intact());
      for (int64_t i = 0; i < 20; ++i) {
        Tensor<T> alone(1, cols);
        (encoder.*head)(x.view(i, 1), alone.view(), session, one);
        CHECK(stands_at(together, i, alone));
        for (int64_t j = 0; j < cols; ++j) CHECK(std::isfinite(alone.at(0, j)));
      }
    }
  }
}

TEST_CASE("what a model does not have is said") {
  const Ops& ops = *backends<float>().front();
  WeightBuffer weights(WeightLayout(small_model(), {}, WeightForm::kPacked, DType::kFloat32), ops);
  CHECK_THROWS_WITH_AS(Encoder{weights}, doctest::Contains("word_embeddings"), CheckpointError);
  fill<float>(weights, 0);
  const Encoder encoder(weights);
  Session session(ops);
  Threads stream(1);
  Tensor<float> x(1, 30), out(1, 50);
  CHECK_THROWS_WITH_AS(encoder.pooler(x.view(), out.view(), session, stream), doctest::Contains("pooler"),
                       InvalidInputError);
  CHECK_THROWS_WITH_AS(encoder.mlm_logits(x.view(), out.view(), session, stream), doctest::Contains("predictions"),
                       InvalidInputError);
  CHECK_THROWS_WITH_AS(encoder.sop_logits(x.view(), out.view(), session, stream), doctest::Contains("sop_classifier"),
                       InvalidInputError);
}

TEST_CASE("a batch out of range is refused before anything runs") {
  const Ops& ops = *backends<float>().front();
  const WeightBuffer weights = random_weights<float>(small_model(), ops);
  const Encoder encoder(weights);
  Text text({4}, 0);
  text.tokens[2] = 50;
  Session session(ops);
  Threads stream(1);
  CHECK_THROWS_AS(encoder.embed(text.batch(), session, stream), InvalidInputError);
}

TEST_CASE("a model of no known instruction set is refused") {
  CHECK_THROWS_WITH_AS(cpu::find_ops("avx1024", DType::kFloat32), doctest::Contains("avx1024"), DeviceError);
  CHECK(std::string(cpu::find_ops("portable", DType::kFloat64).name) == "cpu/portable_f64");
}

}  // namespace albert_fast::testing

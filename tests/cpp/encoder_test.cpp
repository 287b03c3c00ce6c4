// The encoder: sequences at different depths in one batch give the bits they give alone.
#include "engine/encoder.h"

#include <array>
#include <numeric>

#include "filled_weights.h"
#include "kernels/errors.h"
#include "presets.h"
#include "support.h"
#include "text.h"

namespace albert_fast::testing {
namespace {

constexpr Heads kAllHeads{.pooler = true, .mlm = true, .sop = true};

template <typename T>
WeightBuffer random_weights(const ModelConfig& config, const Ops& ops, WeightForm form = WeightForm::kPacked) {
  WeightBuffer weights(WeightLayout(config, kAllHeads, form, kDType<T>), ops);
  fill<T>(weights, 3);
  return weights;
}

template <typename T>
Tensor<T> hidden_states(const Encoder& encoder, const Session& session) {
  const Matrix states = encoder.hidden_states(session);
  Tensor<T> copy(states.rows, states.cols);
  for (int64_t i = 0; i < states.rows; ++i) std::copy_n(states.row<T>(i), states.cols, &copy.at(i, 0));
  return copy;
}

void begin(const Encoder& encoder, const Text& text, Session& session, Stream stream) {
  encoder.start(text.batch(), session, stream);
  encoder.embed(session, stream);
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
  begin(encoder, text, session, stream);
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
    begin(encoder, texts[i], sessions[i], stream);
    advance(encoder, sessions[i], depths[i], stream);
  }
  Session joined(ops);
  encoder.join({&sessions[0], &sessions[1], &sessions[2]}, joined, stream);
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
    begin(encoder, text, session, stream);
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
  begin(shared, text, a, stream);
  begin(grouped, text, b, stream);
  advance(shared, a, 6, stream);
  advance(grouped, b, 6, stream);
  CHECK(identical(hidden_states<float>(shared, a), hidden_states<float>(grouped, b)));
  advance(shared, a, 1, stream);
  advance(grouped, b, 1, stream);
  CHECK_FALSE(identical(hidden_states<float>(shared, a), hidden_states<float>(grouped, b)));
}

/// What each head makes of a text: pooler [B, 30], logits of every row [T, 50], order [B, 2].
template <typename T>
std::array<Tensor<T>, 3> heads_of(const Encoder& encoder, const Text& text, int threads) {
  Threads stream(threads);
  Session session(encoder.ops());
  begin(encoder, text, session, stream);
  advance(encoder, session, 1000, stream);
  const int64_t sequences = session.progress().num_sequences();
  std::vector<int32_t> rows(session.progress().num_tokens());
  std::iota(rows.begin(), rows.end(), 0);
  std::array<Tensor<T>, 3> out = {Tensor<T>(sequences, 30), Tensor<T>(int64_t(rows.size()), 50),
                                  Tensor<T>(sequences, 2)};
  encoder.pooler(session, out[0].view(), stream);
  encoder.mlm_logits(rows, out[1].view(), session, stream);
  encoder.sop_logits(session, out[2].view(), stream);
  for (const Tensor<T>& rows_of_head : out) CHECK(rows_of_head.surroundings_intact());
  return out;
}

TEST_CASE_TEMPLATE("the heads of a text are the same alone, and zero for an empty one", T, float, double) {
  for (const Ops* ops : backends<T>()) {
    const WeightBuffer weights = random_weights<T>(small_model(), *ops);
    const Encoder encoder(weights);
    const Text texts[] = {Text({7}, 3), Text({0}, 4), Text({66}, 5)};
    Text joined = texts[0];
    for (const auto member : {&Text::tokens, &Text::positions, &Text::types}) {
      (joined.*member).insert((joined.*member).end(), (texts[2].*member).begin(), (texts[2].*member).end());
    }
    joined.cu_seqlens = {0, 7, 7, 73};
    const auto together = heads_of<T>(encoder, joined, 3);
    int64_t first_token = 0;
    for (int64_t i = 0; i < 3; ++i) {
      const auto alone = heads_of<T>(encoder, texts[i], 1);
      CHECK(stands_at(together[0], i, alone[0]));
      CHECK(stands_at(together[1], first_token, alone[1]));
      CHECK(stands_at(together[2], i, alone[2]));
      first_token += alone[1].rows();
    }
    for (int64_t j = 0; j < 30; ++j) CHECK((together[0].at(1, j) == 0 && together[0].at(2, j) != 0));
    for (int64_t j = 0; j < 2; ++j) CHECK((together[2].at(1, j) == 0 && std::isfinite(together[2].at(2, j))));
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
  begin(encoder, Text({1}, 0), session, stream);
  Tensor<float> out(1, 50);
  CHECK_THROWS_WITH_AS(encoder.pooler(session, out.view(), stream), doctest::Contains("pooler"), InvalidInputError);
  CHECK_THROWS_WITH_AS(encoder.mlm_logits({0}, out.view(), session, stream), doctest::Contains("predictions"),
                       InvalidInputError);
  CHECK_THROWS_WITH_AS(encoder.sop_logits(session, out.view(), stream), doctest::Contains("sop_classifier"),
                       InvalidInputError);
}

TEST_CASE("a model whose widths a backend does not take is refused") {
  Ops narrow = *backends<float>().front();
  narrow.width_multiple = 8;
  WeightBuffer weights(WeightLayout(small_model(), {}, WeightForm::kPacked, DType::kFloat32), narrow);
  fill<float>(weights, 0);
  CHECK_THROWS_WITH_AS(Encoder{weights}, doctest::Contains("expected a multiple of 8"), ConfigError);
  narrow.width_multiple = 1;
  narrow.widest_row = 29;
  CHECK_THROWS_WITH_AS(Encoder{weights}, doctest::Contains("hidden_size: got 30, expected at most 29"), ConfigError);
  narrow.widest_row = 30;
  narrow.takes_head_dim = [](int64_t head_dim) { return head_dim == 64; };
  CHECK_THROWS_WITH_AS(Encoder{weights}, doctest::Contains("num_attention_heads"), ConfigError);
}

TEST_CASE("a batch out of range is refused before anything runs") {
  const Ops& ops = *backends<float>().front();
  const WeightBuffer weights = random_weights<float>(small_model(), ops);
  const Encoder encoder(weights);
  Text text({4}, 0);
  text.tokens[2] = 50;
  Session session(ops);
  Threads stream(1);
  CHECK_THROWS_AS(encoder.start(text.batch(), session, stream), InvalidInputError);
}

TEST_CASE("a model of no known instruction set is refused") {
  CHECK_THROWS_WITH_AS(cpu::find_ops("avx1024", DType::kFloat32), doctest::Contains("avx1024"), DeviceError);
  CHECK(std::string(cpu::find_ops("portable", DType::kFloat64).name) == "cpu/portable_f64");
}

}  // namespace albert_fast::testing

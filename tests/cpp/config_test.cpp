// ModelConfig: what is refused, and which group an iteration belongs to.
#include "engine/config.h"

#include <doctest/doctest.h>

#include <functional>
#include <limits>

#include "kernels/errors.h"
#include "presets.h"

namespace albert_fast::testing {
namespace {

void check_refused(const std::function<void(ModelConfig&)>& change, const std::string& message) {
  CAPTURE(message);
  ModelConfig config = small_model();
  change(config);
  CHECK_THROWS_AS(config.validate(), ConfigError);
  CHECK_THROWS_WITH(config.validate(), doctest::Contains(message.c_str()));
}

}  // namespace

TEST_CASE("published configurations are valid") {
  for (const auto& [name, config] : published_models()) {
    CAPTURE(name);
    CHECK_NOTHROW(config.validate());
    CHECK(config.head_dim() * config.num_attention_heads == config.hidden_size);
  }
  CHECK_NOTHROW(small_model(12, 3).validate());
}

TEST_CASE("every size must be positive and not absurd, and is named") {
  const std::pair<const char*, int64_t ModelConfig::*> sizes[] = {
      {"vocab_size", &ModelConfig::vocab_size},
      {"embedding_size", &ModelConfig::embedding_size},
      {"hidden_size", &ModelConfig::hidden_size},
      {"num_hidden_layers", &ModelConfig::num_hidden_layers},
      {"num_hidden_groups", &ModelConfig::num_hidden_groups},
      {"inner_group_num", &ModelConfig::inner_group_num},
      {"num_attention_heads", &ModelConfig::num_attention_heads},
      {"intermediate_size", &ModelConfig::intermediate_size},
      {"max_position_embeddings", &ModelConfig::max_position_embeddings},
      {"type_vocab_size", &ModelConfig::type_vocab_size},
  };
  for (const auto& [name, field] : sizes) {
    for (const int64_t value : {int64_t{0}, int64_t{-1}, std::numeric_limits<int64_t>::min(),
                                std::numeric_limits<int64_t>::max(), (int64_t{1} << 24) + 1}) {
      check_refused([&](ModelConfig& config) { config.*field = value; },
                    std::string(name) + ": got " + std::to_string(value));
    }
  }
}

TEST_CASE("sizes must fit each other") {
  check_refused([](ModelConfig& config) { config.num_attention_heads = 7; }, "hidden_size: got 30");
  check_refused([](ModelConfig& config) { config.num_hidden_groups = 13; }, "num_hidden_groups: got 13");
}

TEST_CASE("layer_norm_eps must be a number one can add") {
  for (const double eps : {-1e-12, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    check_refused([&](ModelConfig& config) { config.layer_norm_eps = eps; }, "layer_norm_eps: got ");
  }
  ModelConfig config = small_model();
  config.layer_norm_eps = 0;
  CHECK_NOTHROW(config.validate());
}

TEST_CASE("activations by their names in config.json") {
  ModelConfig config = small_model();
  const std::pair<const char*, Activation> known[] = {{"gelu_new", Activation::kGeluTanh},
                                                      {"gelu_pytorch_tanh", Activation::kGeluTanh},
                                                      {"gelu", Activation::kGeluErf}};
  for (const auto& [name, activation] : known) {
    config.hidden_act = name;
    CHECK(config.activation() == activation);
  }
  for (const char* name : {"relu", "", "GELU"}) {
    check_refused([&](ModelConfig& c) { c.hidden_act = name; }, std::string("hidden_act: got '") + name + "'");
  }
}

TEST_CASE("iterations share out among the groups in order, as int(depth / (layers / groups))") {
  for (int64_t layers = 1; layers <= 24; ++layers) {
    for (int64_t groups = 1; groups <= layers; ++groups) {
      ModelConfig config = small_model(groups);
      config.num_hidden_layers = layers;
      int64_t last = 0;
      for (int64_t depth = 0; depth < layers; ++depth) {
        const int64_t group = config.group_of(depth);
        CHECK(group == int64_t(double(depth) / (double(layers) / double(groups))));
        CHECK(group >= last);
        CHECK(group < groups);
        last = group;
      }
    }
  }
  CHECK(small_model(5).group_of(11) == 4);
}

}  // namespace albert_fast::testing

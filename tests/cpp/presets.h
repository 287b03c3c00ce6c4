// The eight published models, and a small one.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/config.h"

namespace albert_fast::testing {

inline ModelConfig published(int64_t hidden, int64_t heads, int64_t layers, const char* activation) {
  return {.vocab_size = 30000,
          .embedding_size = 128,
          .hidden_size = hidden,
          .num_hidden_layers = layers,
          .num_hidden_groups = 1,
          .inner_group_num = 1,
          .num_attention_heads = heads,
          .intermediate_size = 4 * hidden,
          .max_position_embeddings = 512,
          .type_vocab_size = 2,
          .hidden_act = activation,
          .layer_norm_eps = 1e-12};
}

/// By name; v1 and v2 differ in the activation.
inline std::vector<std::pair<std::string, ModelConfig>> published_models() {
  std::vector<std::pair<std::string, ModelConfig>> models;
  for (const auto& [version, activation] : {std::pair{"v1", "gelu"}, std::pair{"v2", "gelu_new"}}) {
    models.emplace_back(std::string("base-") + version, published(768, 12, 12, activation));
    models.emplace_back(std::string("large-") + version, published(1024, 16, 24, activation));
    models.emplace_back(std::string("xlarge-") + version, published(2048, 16, 24, activation));
    models.emplace_back(std::string("xxlarge-") + version, published(4096, 64, 12, activation));
  }
  return models;
}

/// Sizes that divide nothing; 12 iterations.
inline ModelConfig small_model(int64_t groups = 1, int64_t inner = 1) {
  return {.vocab_size = 50,
          .embedding_size = 9,
          .hidden_size = 30,
          .num_hidden_layers = 12,
          .num_hidden_groups = groups,
          .inner_group_num = inner,
          .num_attention_heads = 3,
          .intermediate_size = 41,
          .max_position_embeddings = 80,
          .type_vocab_size = 2,
          .hidden_act = "gelu_new",
          .layer_norm_eps = 1e-12};
}

}  // namespace albert_fast::testing

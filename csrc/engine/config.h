// The numbers of an ALBERT model that the engine needs, checked once.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/types.h"

namespace albert_fast {

/// Field names are those of transformers' config.json.
struct ModelConfig {
  int64_t vocab_size;         // V
  int64_t embedding_size;     // E
  int64_t hidden_size;        // H
  int64_t num_hidden_layers;  // iterations, L
  int64_t num_hidden_groups;  // G, layers with weights of their own
  int64_t inner_group_num;    // layers inside each group
  int64_t num_attention_heads;
  int64_t intermediate_size;  // I
  int64_t max_position_embeddings;
  int64_t type_vocab_size;
  std::string hidden_act;
  double layer_norm_eps;
  bool has_embedding_mapping = true;  // E -> H; without it, as in BERT, E = H and embeddings are hidden states

  /// Throws ConfigError naming the first field that cannot be used.
  void validate() const;

  int64_t head_dim() const { return hidden_size / num_attention_heads; }

  /// The group whose weights iteration `depth` uses: int(depth / (L / G)), as transformers counts.
  int64_t group_of(int64_t depth) const;

  /// hidden_act as an op knows it.
  Activation activation() const;
};

}  // namespace albert_fast

#include "engine/config.h"

#include <cmath>
#include <utility>

#include "kernels/errors.h"

namespace albert_fast {
namespace {

/// Keeps every product of two sizes far inside int64 and every row index inside int32.
constexpr int64_t kLargest = int64_t{1} << 24;

[[noreturn]] void reject(const std::string& field, const std::string& got, const std::string& expected) {
  throw ConfigError(field + ": got " + got + ", expected " + expected);
}

}  // namespace

void ModelConfig::validate() const {
  const std::pair<const char*, int64_t> sizes[] = {
      {"vocab_size", vocab_size},
      {"embedding_size", embedding_size},
      {"hidden_size", hidden_size},
      {"num_hidden_layers", num_hidden_layers},
      {"num_hidden_groups", num_hidden_groups},
      {"inner_group_num", inner_group_num},
      {"num_attention_heads", num_attention_heads},
      {"intermediate_size", intermediate_size},
      {"max_position_embeddings", max_position_embeddings},
      {"type_vocab_size", type_vocab_size},
  };
  for (const auto& [name, value] : sizes) {
    if (value < 1 || value > kLargest) {
      reject(name, std::to_string(value), "an integer in 1.." + std::to_string(kLargest));
    }
  }
  if (hidden_size % num_attention_heads != 0) {
    reject("hidden_size", std::to_string(hidden_size),
           "a multiple of num_attention_heads = " + std::to_string(num_attention_heads));
  }
  if (num_hidden_groups > num_hidden_layers) {
    reject("num_hidden_groups", std::to_string(num_hidden_groups),
           "at most num_hidden_layers = " + std::to_string(num_hidden_layers));
  }
  if (!has_embedding_mapping && embedding_size != hidden_size) {
    reject("embedding_size", std::to_string(embedding_size),
           "hidden_size = " + std::to_string(hidden_size) + " where has_embedding_mapping is false");
  }
  if (!(layer_norm_eps >= 0) || !std::isfinite(layer_norm_eps)) {
    reject("layer_norm_eps", std::to_string(layer_norm_eps), "a finite number >= 0");
  }
  activation();
}

int64_t ModelConfig::group_of(int64_t depth) const {
  const double iterations_per_group = double(num_hidden_layers) / double(num_hidden_groups);
  return static_cast<int64_t>(double(depth) / iterations_per_group);
}

Activation ModelConfig::activation() const {
  if (hidden_act == "gelu_new" || hidden_act == "gelu_pytorch_tanh") return Activation::kGeluTanh;
  if (hidden_act == "gelu") return Activation::kGeluErf;
  reject("hidden_act", "'" + hidden_act + "'", "one of gelu_new, gelu_pytorch_tanh, gelu");
}

}  // namespace albert_fast

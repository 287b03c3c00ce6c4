#include "engine/support.h"

namespace albert_fast {
namespace {

std::string unsupported_width(const Ops& ops, const char* name, int64_t width) {
  if (width % ops.width_multiple == 0) return "";
  return std::string(name) + ": got " + std::to_string(width) + ", expected a multiple of " +
         std::to_string(ops.width_multiple) + " for " + ops.name;
}

std::string unsupported_row(const Ops& ops, const char* name, int64_t width) {
  if (width <= ops.widest_row) return "";
  return std::string(name) + ": got " + std::to_string(width) + ", expected at most " + std::to_string(ops.widest_row) +
         " for " + ops.name;
}

std::string unsupported_heads(const Ops& ops, int64_t head_dim) {
  if (ops.takes_head_dim(head_dim)) return "";
  return "num_attention_heads: got heads of " + std::to_string(head_dim) + " numbers, which the kernels of " +
         ops.name + " do not take, expected 32, 64 or 128";
}

std::string first_of(std::initializer_list<std::string> reasons) {
  for (const std::string& reason : reasons) {
    if (!reason.empty()) return reason;
  }
  return "";
}

}  // namespace

std::string unsupported_by(const Ops& ops, const ModelConfig& config) {
  return first_of({unsupported_width(ops, "embedding_size", config.embedding_size),
                   unsupported_width(ops, "hidden_size", config.hidden_size),
                   unsupported_width(ops, "intermediate_size", config.intermediate_size),
                   unsupported_row(ops, "embedding_size", config.embedding_size),
                   unsupported_row(ops, "hidden_size", config.hidden_size), unsupported_heads(ops, config.head_dim())});
}

std::string unsupported_by(const Ops& ops, const LayerShape& shape) {
  if (shape.num_attention_heads < 1 || shape.hidden_size < 1 || shape.hidden_size % shape.num_attention_heads != 0) {
    return "num_attention_heads: got " + std::to_string(shape.num_attention_heads) + ", expected a divisor of " +
           std::to_string(shape.hidden_size);
  }
  if (ops.weight_dtype != ops.dtype) {
    return std::string("dtype: got ") + name_of(ops.weight_dtype) + " weights for " + ops.name +
           ", expected plain weights of " + name_of(ops.dtype) + " to train";
  }
  return first_of({unsupported_width(ops, "hidden_size", shape.hidden_size),
                   unsupported_width(ops, "intermediate_size", shape.intermediate_size),
                   unsupported_row(ops, "hidden_size", shape.hidden_size), unsupported_heads(ops, shape.head_dim())});
}

}  // namespace albert_fast

#include "engine/encoder.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/errors.h"

namespace albert_fast {
namespace {

/// Hands out 64-byte aligned pieces of a block; with base null it only counts.
class Carver {
 public:
  Carver(char* base, DType dtype) : base_(base), dtype_(dtype) {}

  Matrix matrix(int64_t rows, int64_t cols) { return {piece(rows * cols * size_of(dtype_)), rows, cols, cols}; }
  Scratch scratch(size_t size) { return {piece(size), size}; }

  size_t offset() const { return offset_; }
  void move_to(size_t offset) { offset_ = offset; }

 private:
  void* piece(size_t size) {
    char* data = base_ == nullptr ? nullptr : base_ + offset_;
    offset_ += (size + 63) / 64 * 64;
    return data;
  }

  char* base_;
  DType dtype_;
  size_t offset_ = 0;
};

/// What `layout(Carver&)` carves out of the workspace; the workspace is made large enough first.
template <typename Layout>
auto carve(DeviceBuffer& workspace, DType dtype, const Layout& layout) {
  Carver counter(nullptr, dtype);
  layout(counter);
  workspace.reserve(counter.offset());
  Carver carver(workspace.data(), dtype);
  return layout(carver);
}

Matrix rows_of(const Matrix& m, int64_t begin, int64_t end, DType dtype) {
  return {m.row<char>(0) + begin * m.stride * size_of(dtype), end - begin, m.cols, m.stride};
}

}  // namespace

Encoder::Encoder(const WeightBuffer& weights)
    : weights_(weights), ops_(weights.ops()), config_(weights.layout().config()) {
  const std::vector<std::string> missing = weights.missing();
  if (!missing.empty()) {
    throw CheckpointError("weights: got no complete '" + missing.front() + "' (" + std::to_string(missing.size()) +
                          " tensors missing), expected every tensor of the layout");
  }
  groups_.resize(config_.num_hidden_groups);
  for (int64_t group = 0; group < config_.num_hidden_groups; ++group) {
    for (int64_t inner = 0; inner < config_.inner_group_num; ++inner) {
      const std::string prefix = layer_prefix(group, inner);
      groups_[group].push_back({projection(prefix + "qkv"), projection(prefix + "dense"), projection(prefix + "ffn"),
                                projection(prefix + "ffn_output"), norm(prefix + "attention_norm"),
                                norm(prefix + "output_norm")});
    }
  }
}

Encoder::Projection Encoder::projection(const std::string& slot) const {
  return {weights_.weight(slot + ".weight"), weights_.vector(slot + ".bias")};
}

Encoder::Norm Encoder::norm(const std::string& slot) const {
  return {weights_.vector(slot + ".weight"), weights_.vector(slot + ".bias")};
}

void Encoder::linear(const Projection& projection, Activation activation, ConstMatrix x, ConstMatrix residual, Matrix y,
                     Scratch scratch, Stream stream) const {
  ops_.linear({x, projection.weight, projection.bias, activation, residual, y, scratch}, stream);
}

void Encoder::normalize(const Norm& norm, Matrix x, Stream stream) const {
  ops_.layer_norm({x, norm.gamma, norm.beta, config_.layer_norm_eps, x}, stream);
}

Matrix Encoder::hidden_states(const Session& session) const {
  const int64_t h = config_.hidden_size;
  return {session.hidden_.data(), session.progress_.num_tokens(), h, h};
}

void Encoder::embed(const RaggedBatch& batch, Session& session, Stream stream) const {
  batch.validate(config_);
  const int64_t rows = batch.num_tokens, e = config_.embedding_size, h = config_.hidden_size;
  session.progress_ = {{batch.cu_seqlens, batch.cu_seqlens + batch.num_sequences + 1},
                       std::vector<int32_t>(batch.num_sequences, 0)};
  session.hidden_.reserve(rows * h * size_of(ops_.dtype));
  if (rows == 0) return;

  const auto [embedded, scratch] = carve(session.workspace_, ops_.dtype, [&](Carver& carver) {
    return std::pair(carver.matrix(rows, e), carver.scratch(ops_.linear_scratch(rows, e, stream)));
  });
  const Norm n = norm("embeddings.norm");
  ops_.embed({batch.tokens, batch.positions, batch.token_types, weights_.matrix("embeddings.word"),
              weights_.matrix("embeddings.position"), weights_.matrix("embeddings.token_type"), n.gamma, n.beta,
              config_.layer_norm_eps, embedded},
             stream);
  linear(projection("mapping"), Activation::kNone, embedded, {}, hidden_states(session), scratch, stream);
}

Encoder::Buffers Encoder::iteration_buffers(Session& session, Stream stream) const {
  const Progress& progress = session.progress_;
  const int64_t rows = progress.num_tokens(), h = config_.hidden_size, i = config_.intermediate_size;
  const size_t scratch_bytes = std::max({ops_.linear_scratch(rows, h, stream), ops_.linear_scratch(rows, i, stream),
                                         ops_.attention_scratch(progress.max_seqlen(), config_.head_dim(), stream)});
  return carve(session.workspace_, ops_.dtype, [&](Carver& carver) {
    Buffers buffers;
    buffers.qkv = carver.matrix(rows, 3 * h);
    buffers.context = carver.matrix(rows, h);
    const size_t attention_end = carver.offset();
    carver.move_to(0);
    buffers.ffn = carver.matrix(rows, i);
    carver.move_to(std::max(attention_end, carver.offset()));
    buffers.attended = carver.matrix(rows, h);
    buffers.scratch = carver.scratch(scratch_bytes);
    return buffers;
  });
}

bool Encoder::advance(Session& session, Stream stream) const {
  const std::vector<Run> runs = next_runs(config_, session.progress_);
  if (runs.empty()) return false;
  const Buffers buffers = iteration_buffers(session, stream);
  for (const Run& run : runs) {
    for (const Layer& layer : groups_[run.group]) {
      run_layer(layer, session.progress_, run, hidden_states(session), buffers, stream);
    }
    for (int64_t b = run.first; b < run.last; ++b) ++session.progress_.depths[b];
  }
  return true;
}

void Encoder::run_layer(const Layer& layer, const Progress& progress, const Run& run, Matrix hidden,
                        const Buffers& buffers, Stream stream) const {
  const int64_t begin = progress.cu_seqlens[run.first], end = progress.cu_seqlens[run.last];
  if (begin == end) return;
  const DType dtype = ops_.dtype;
  const Matrix x = rows_of(hidden, begin, end, dtype), qkv = rows_of(buffers.qkv, begin, end, dtype),
               context = rows_of(buffers.context, begin, end, dtype), ffn = rows_of(buffers.ffn, begin, end, dtype),
               attended = rows_of(buffers.attended, begin, end, dtype);

  // a = LN(x + dense(attention(x)))
  linear(layer.qkv, Activation::kNone, x, {}, qkv, buffers.scratch, stream);
  ops_.attention({buffers.qkv, progress.cu_seqlens.data() + run.first, run.last - run.first,
                  config_.num_attention_heads, config_.head_dim(), buffers.context, buffers.scratch},
                 stream);
  linear(layer.dense, Activation::kNone, context, x, attended, buffers.scratch, stream);
  normalize(layer.attention_norm, attended, stream);

  // x = LN(ffn_output(act(ffn(a))) + a)
  linear(layer.ffn, config_.activation(), attended, {}, ffn, buffers.scratch, stream);
  linear(layer.ffn_output, Activation::kNone, ffn, attended, x, buffers.scratch, stream);
  normalize(layer.output_norm, x, stream);
}

void Encoder::join(const std::vector<const Session*>& parts, Session& session) const {
  Progress joined{{0}, {}};
  for (const Session* part : parts) {
    const int32_t base = joined.cu_seqlens.back();
    const Progress& progress = part->progress_;
    for (size_t b = 1; b < progress.cu_seqlens.size(); ++b) joined.cu_seqlens.push_back(base + progress.cu_seqlens[b]);
    joined.depths.insert(joined.depths.end(), progress.depths.begin(), progress.depths.end());
  }
  session.progress_ = std::move(joined);
  const size_t row_bytes = config_.hidden_size * size_of(ops_.dtype);
  session.hidden_.reserve(session.progress_.num_tokens() * row_bytes);
  char* target = session.hidden_.data();
  for (const Session* part : parts) {
    const size_t bytes = part->progress_.num_tokens() * row_bytes;
    if (bytes > 0) std::memcpy(target, part->hidden_.data(), bytes);
    target += bytes;
  }
}

void Encoder::pool(const Session& session, Pooling pooling, Matrix out, Stream stream) const {
  ops_.pool({hidden_states(session), session.progress_.cu_seqlens.data(), pooling, out}, stream);
}

void Encoder::apply_head(const std::string& slot, Activation activation, ConstMatrix x, Matrix out, Session& session,
                         Stream stream) const {
  const size_t bytes = ops_.linear_scratch(x.rows, x.cols, stream);
  session.workspace_.reserve(bytes);
  linear(projection(slot), activation, x, {}, out, {session.workspace_.data(), bytes}, stream);
}

void Encoder::pooler(ConstMatrix x, Matrix out, Session& session, Stream stream) const {
  if (!heads().pooler) throw InvalidInputError("pooler: this checkpoint has none (no albert.pooler.* tensors)");
  apply_head("pooler", Activation::kTanh, x, out, session, stream);
}

void Encoder::mlm_logits(ConstMatrix x, Matrix out, Session& session, Stream stream) const {
  if (!heads().mlm) throw InvalidInputError("mlm_logits: this checkpoint has no MLM head (no predictions.* tensors)");
  const int64_t e = config_.embedding_size;
  const size_t scratch_bytes =
      std::max(ops_.linear_scratch(x.rows, x.cols, stream), ops_.linear_scratch(x.rows, e, stream));
  const auto [transformed, scratch] = carve(session.workspace_, ops_.dtype, [&](Carver& carver) {
    return std::pair(carver.matrix(x.rows, e), carver.scratch(scratch_bytes));
  });
  linear(projection("mlm.dense"), config_.activation(), x, {}, transformed, scratch, stream);
  normalize(norm("mlm.norm"), transformed, stream);
  const Projection decoder = {weights_.weight("embeddings.word"), weights_.vector("mlm.bias")};  // tied
  linear(decoder, Activation::kNone, transformed, {}, out, scratch, stream);
}

void Encoder::sop_logits(ConstMatrix x, Matrix out, Session& session, Stream stream) const {
  if (!heads().sop) {
    throw InvalidInputError("sop_logits: this checkpoint has no SOP head (no sop_classifier.* tensors)");
  }
  apply_head("sop", Activation::kNone, x, out, session, stream);
}

}  // namespace albert_fast

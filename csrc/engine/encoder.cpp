#include "engine/encoder.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "engine/carver.h"
#include "engine/support.h"
#include "kernels/errors.h"

namespace albert_fast {
namespace {

Matrix rows_of(const Matrix& m, int64_t begin, int64_t end, DType dtype) {
  return {m.row<char>(0) + begin * m.stride * size_of(dtype), end - begin, m.cols, m.stride};
}

int64_t ids_count(int64_t tokens, int64_t sequences) { return 2 * sequences + 1 + 3 * tokens; }

}  // namespace

Encoder::Encoder(const WeightBuffer& weights)
    : weights_(weights), ops_(weights.ops()), config_(weights.layout().config()) {
  const std::string reason = unsupported_by(ops_, config_);
  if (!reason.empty()) throw ConfigError(reason);
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

Encoder::Ids Encoder::ids_of(const Session& session) const {
  const int64_t sequences = session.progress_.num_sequences(), tokens = session.progress_.num_tokens();
  auto* ids = reinterpret_cast<int32_t*>(session.ids_.data());
  int32_t* after = ids + 2 * sequences + 1;
  return {ids, ids + sequences + 1, after, after + tokens, after + 2 * tokens};
}

Matrix Encoder::hidden_states(const Session& session) const {
  const int64_t h = config_.hidden_size;
  return {session.hidden_.data(), session.progress_.num_tokens(), h, h};
}

/// All integers in one transfer; those of each token only if there is a `batch` that says them.
void Encoder::upload_ids(const RaggedBatch* batch, Session& session, Stream stream) const {
  const Progress& progress = session.progress_;
  std::vector<int32_t> ids = progress.cu_seqlens;
  for (int64_t b = 0; b < progress.num_sequences(); ++b) {
    const bool empty = progress.cu_seqlens[b] == progress.cu_seqlens[b + 1];
    ids.push_back(empty ? -1 : progress.cu_seqlens[b]);
  }
  if (batch != nullptr) {
    for (const int32_t* values : {batch->tokens, batch->positions, batch->token_types}) {
      ids.insert(ids.end(), values, values + batch->num_tokens);
    }
  }
  session.ids_.reserve(ids_count(progress.num_tokens(), progress.num_sequences()) * sizeof(int32_t));
  ops_.upload(session.ids_.data(), ids.data(), ids.size() * sizeof(int32_t), stream);
}

void Encoder::start(const RaggedBatch& batch, Session& session, Stream stream) const {
  batch.validate(config_);
  session.progress_ = {{batch.cu_seqlens, batch.cu_seqlens + batch.num_sequences + 1},
                       std::vector<int32_t>(batch.num_sequences, 0)};
  session.hidden_.reserve(batch.num_tokens * config_.hidden_size * size_of(ops_.dtype));
  iteration_buffers(session, stream);
  upload_ids(&batch, session, stream);
}

void Encoder::embed(Session& session, Stream stream) const {
  const int64_t rows = session.progress_.num_tokens(), e = config_.embedding_size;
  if (rows == 0) return;
  const Norm n = norm("embeddings.norm");
  const Ids ids = ids_of(session);
  const auto embed_into = [&](Matrix y) {
    ops_.embed({ids.tokens, ids.positions, ids.token_types, weights_.matrix("embeddings.word"),
                weights_.matrix("embeddings.position"), weights_.matrix("embeddings.token_type"), n.gamma, n.beta,
                config_.layer_norm_eps, y},
               stream);
  };
  if (!config_.has_embedding_mapping) return embed_into(hidden_states(session));
  const auto [embedded, scratch] = carve(session.workspace_, [&](Carver& carver) {
    return std::pair(carver.matrix(rows, e, ops_.dtype), carver.scratch(ops_.linear_scratch(rows, e, stream)));
  });
  embed_into(embedded);
  const Projection mapping = projection("mapping");
  ops_.linear(
      {embedded, mapping.weight, mapping.bias, Activation::kNone, {}, hidden_states(session), ops_.dtype, scratch},
      stream);
}

/// Includes what `embed` needs, so that a workspace planned for iterations serves it as well.
Encoder::Buffers Encoder::iteration_buffers(Session& session, Stream stream) const {
  const Progress& progress = session.progress_;
  const int64_t rows = progress.num_tokens(), h = config_.hidden_size, i = config_.intermediate_size,
                e = config_.embedding_size;
  const size_t scratch_bytes = std::max({ops_.linear_scratch(rows, h, stream), ops_.linear_scratch(rows, i, stream),
                                         ops_.attention_scratch(progress.max_seqlen(), config_.head_dim(), stream)});
  return carve(session.workspace_, [&](Carver& carver) {
    Buffers buffers;
    carver.matrix(rows, e, ops_.dtype);  // embed's
    carver.scratch(ops_.linear_scratch(rows, e, stream));
    const size_t embed_end = carver.offset();
    carver.move_to(0);
    buffers.qkv = carver.matrix(rows, 3 * h, ops_.dtype);
    buffers.context = carver.matrix(rows, h, ops_.dtype);
    const size_t attention_end = carver.offset();
    carver.move_to(0);
    buffers.ffn = carver.matrix(rows, i, ops_.dtype);
    carver.move_to(std::max({embed_end, attention_end, carver.offset()}));
    buffers.attended = carver.matrix(rows, h, ops_.dtype);
    buffers.sums = carver.matrix(ops_.dtype == ops_.sum_dtype ? 0 : rows, h, ops_.sum_dtype);
    buffers.scratch = carver.scratch(scratch_bytes);
    return buffers;
  });
}

bool Encoder::advance(Session& session, Stream stream) const {
  const std::vector<Run> runs = next_runs(config_, session.progress_);
  if (runs.empty()) return false;
  const Buffers buffers = iteration_buffers(session, stream);
  for (const Run& run : runs) {
    for (const Layer& layer : groups_[run.group]) run_layer(layer, session, run, buffers, stream);
    for (int64_t b = run.first; b < run.last; ++b) ++session.progress_.depths[b];
  }
  return true;
}

void Encoder::run_layer(const Layer& layer, const Session& session, const Run& run, const Buffers& buffers,
                        Stream stream) const {
  const Progress& progress = session.progress_;
  const int64_t begin = progress.cu_seqlens[run.first], end = progress.cu_seqlens[run.last];
  if (begin == end) return;
  const DType dtype = ops_.dtype;
  const bool apart = dtype != ops_.sum_dtype;
  const Matrix x = rows_of(hidden_states(session), begin, end, dtype), qkv = rows_of(buffers.qkv, begin, end, dtype),
               context = rows_of(buffers.context, begin, end, dtype), ffn = rows_of(buffers.ffn, begin, end, dtype),
               attended = rows_of(buffers.attended, begin, end, dtype),
               sums = apart ? rows_of(buffers.sums, begin, end, ops_.sum_dtype) : Matrix{};

  // a = LN(x + dense(attention(x)))
  ops_.linear({x, layer.qkv.weight, layer.qkv.bias, Activation::kNone, {}, qkv, dtype, buffers.scratch}, stream);
  ops_.attention({buffers.qkv, ids_of(session).cu_seqlens + run.first, run.last - run.first,
                  progress.max_seqlen(run.first, run.last), config_.num_attention_heads, config_.head_dim(),
                  buffers.context, buffers.scratch},
                 stream);
  add_and_normalize(layer.dense, layer.attention_norm, context, x, apart ? sums : attended, attended, buffers.scratch,
                    stream);

  // x = LN(a + ffn_output(act(ffn(a))))
  ops_.linear({attended, layer.ffn.weight, layer.ffn.bias, config_.activation(), {}, ffn, dtype, buffers.scratch},
              stream);
  add_and_normalize(layer.ffn_output, layer.output_norm, ffn, attended, apart ? sums : x, x, buffers.scratch, stream);
}

/// y = LN(residual + W x + b); `sums`, of sum_dtype, is y itself where that is the dtype.
void Encoder::add_and_normalize(const Projection& projection, const Norm& norm, ConstMatrix x, ConstMatrix residual,
                                Matrix sums, Matrix y, Scratch scratch, Stream stream) const {
  ops_.linear({x, projection.weight, projection.bias, Activation::kNone, residual, sums, ops_.sum_dtype, scratch},
              stream);
  ops_.layer_norm({sums, ops_.sum_dtype, norm.gamma, norm.beta, config_.layer_norm_eps, y}, stream);
}

void Encoder::join(const std::vector<const Session*>& parts, Session& session, Stream stream) const {
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
  upload_ids(nullptr, session, stream);
  char* target = session.hidden_.data();
  for (const Session* part : parts) {
    const size_t bytes = part->progress_.num_tokens() * row_bytes;
    ops_.copy(target, part->hidden_.data(), bytes, stream);
    target += bytes;
  }
}

void Encoder::pool(const Session& session, Pooling pooling, Matrix out, Stream stream) const {
  ops_.pool({hidden_states(session), ids_of(session).cu_seqlens, pooling, out}, stream);
}

/// pooled = tanh(W first + b) with `first` the first rows; both [B, H].
void Encoder::pool_first(Session& session, Matrix first, Matrix pooled, DType dtype, Scratch scratch,
                         Stream stream) const {
  ops_.gather({hidden_states(session), ids_of(session).first_rows, first}, stream);
  const Projection head = projection("pooler");
  ops_.linear({first, head.weight, head.bias, Activation::kTanh, {}, pooled, dtype, scratch}, stream);
}

/// What a head makes of an empty sequence is the head's bias; it becomes zeros.
void Encoder::clear_empty(const Session& session, Matrix out, Stream stream) const {
  const std::vector<int32_t>& cu_seqlens = session.progress_.cu_seqlens;
  const std::vector<char> zeros(out.cols * size_of(ops_.sum_dtype), 0);
  for (int64_t b = 0; b < out.rows; ++b) {
    if (cu_seqlens[b] != cu_seqlens[b + 1]) continue;
    ops_.upload(rows_of(out, b, b + 1, ops_.sum_dtype).data, zeros.data(), zeros.size(), stream);
  }
}

void Encoder::pooler(Session& session, Matrix out, Stream stream) const {
  if (!heads().pooler) throw InvalidInputError("pooler: this checkpoint has none (no albert.pooler.* tensors)");
  const int64_t sequences = session.progress_.num_sequences(), h = config_.hidden_size;
  const auto [first, scratch] = carve(session.workspace_, [&](Carver& carver) {
    return std::pair(carver.matrix(sequences, h, ops_.dtype),
                     carver.scratch(ops_.linear_scratch(sequences, h, stream)));
  });
  pool_first(session, first, out, ops_.sum_dtype, scratch, stream);
  clear_empty(session, out, stream);
}

void Encoder::mlm_logits(const std::vector<int32_t>& rows, Matrix out, Session& session, Stream stream) const {
  if (!heads().mlm) throw InvalidInputError("mlm_logits: this checkpoint has no MLM head (no predictions.* tensors)");
  const int64_t count = out.rows, h = config_.hidden_size, e = config_.embedding_size;
  const size_t scratch_bytes = std::max(ops_.linear_scratch(count, h, stream), ops_.linear_scratch(count, e, stream));
  const auto [indices, chosen, sums, transformed, scratch] = carve(session.workspace_, [&](Carver& carver) {
    return std::tuple(carver.ints(count), carver.matrix(count, h, ops_.dtype), carver.matrix(count, e, ops_.sum_dtype),
                      carver.matrix(count, e, ops_.dtype), carver.scratch(scratch_bytes));
  });
  ops_.upload(indices, rows.data(), rows.size() * sizeof(int32_t), stream);
  ops_.gather({hidden_states(session), indices, chosen}, stream);
  const Projection dense = projection("mlm.dense");
  ops_.linear({chosen, dense.weight, dense.bias, config_.activation(), {}, sums, ops_.sum_dtype, scratch}, stream);
  const Norm n = norm("mlm.norm");
  ops_.layer_norm({sums, ops_.sum_dtype, n.gamma, n.beta, config_.layer_norm_eps, transformed}, stream);
  ops_.linear({transformed,
               weights_.weight("embeddings.word"),
               weights_.vector("mlm.bias"),
               Activation::kNone,
               {},
               out,
               ops_.sum_dtype,
               scratch},  // the decoder is tied to the embeddings
              stream);
}

void Encoder::sop_logits(Session& session, Matrix out, Stream stream) const {
  if (!heads().sop || !heads().pooler) {
    throw InvalidInputError(
        "sop_logits: this checkpoint has no SOP head or no pooler below it (sop_classifier.*, albert.pooler.* "
        "tensors)");
  }
  const int64_t sequences = session.progress_.num_sequences(), h = config_.hidden_size;
  const auto [first, pooled, scratch] = carve(session.workspace_, [&](Carver& carver) {
    return std::tuple(carver.matrix(sequences, h, ops_.dtype), carver.matrix(sequences, h, ops_.dtype),
                      carver.scratch(ops_.linear_scratch(sequences, h, stream)));
  });
  pool_first(session, first, pooled, ops_.dtype, scratch, stream);
  const Projection head = projection("sop");
  ops_.linear({pooled, head.weight, head.bias, Activation::kNone, {}, out, ops_.sum_dtype, scratch}, stream);
  clear_empty(session, out, stream);
}

}  // namespace albert_fast

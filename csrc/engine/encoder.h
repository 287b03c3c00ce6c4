// The model: embeddings, then the same layer again and again, then the heads. Knows no device: everything runs through
// the weight buffer's Ops.
#pragma once

#include <vector>

#include "engine/batch.h"
#include "engine/device_buffer.h"
#include "engine/weights.h"
#include "kernels/ops.h"

namespace albert_fast {

/// Everything one call changes. A session runs one batch at a time and keeps its memory for the next.
class Session {
 public:
  explicit Session(const Ops& ops) : ids_(ops), hidden_(ops), workspace_(ops) {}

  const Progress& progress() const { return progress_; }

 private:
  friend class Encoder;
  Progress progress_;
  DeviceBuffer ids_;        // int32: cu_seqlens [B + 1], first rows [B], tokens [T], positions [T], token types [T]
  DeviceBuffer hidden_;     // [T, H], the hidden states at each sequence's depth
  DeviceBuffer workspace_;  // what an iteration or a head needs besides; nothing in it outlives a call
};

/// Borrows the weights; const and therefore shared by threads, each with its own Session.
///
/// `start` validates, allocates and uploads; after it, `embed`, `advance` and `pool` only launch work: they allocate
/// nothing and wait for nothing, so a CUDA graph can capture them and be replayed on the next batch of these lengths.
class Encoder {
 public:
  /// Throws CheckpointError if a tensor was not written, ConfigError if the backend cannot run a model of these widths.
  explicit Encoder(const WeightBuffer& weights);

  const ModelConfig& config() const { return config_; }
  Heads heads() const { return weights_.layout().heads(); }
  const Ops& ops() const { return ops_; }

  /// Puts a batch into the session, at depth 0 and not yet embedded. Validates it.
  void start(const RaggedBatch& batch, Session& session, Stream stream) const;

  /// Embeddings and the mapping E -> H of the session's batch.
  void embed(Session& session, Stream stream) const;

  /// One iteration for every sequence that is not done; they may be at different depths. False: all were done.
  bool advance(Session& session, Stream stream) const;

  /// Replaces the session's batch by those of `parts`, end to end, each sequence at its depth.
  void join(const std::vector<const Session*>& parts, Session& session, Stream stream) const;

  /// The session's hidden states, [T, H], valid until the session changes.
  Matrix hidden_states(const Session& session) const;

  /// The hidden states of each sequence pooled into `out` [B, H], or with kEach all of them [T, H]; of sum_dtype.
  void pool(const Session& session, Pooling pooling, Matrix out, Stream stream) const;

  /// tanh(W x + b) of each sequence's first token into `out` [B, H] of sum_dtype; zeros for an empty sequence.
  void pooler(Session& session, Matrix out, Stream stream) const;

  /// Logits over the vocabulary of chosen rows (host) of the batch, each below T, into `out` [n, V] of sum_dtype.
  void mlm_logits(const std::vector<int32_t>& rows, Matrix out, Session& session, Stream stream) const;

  /// Logits (in order, swapped) of each sequence into `out` [B, 2] of sum_dtype; zeros for an empty sequence.
  void sop_logits(Session& session, Matrix out, Stream stream) const;

 private:
  /// One linear with its bias, as Linear wants them.
  struct Projection {
    Weight weight;
    const void* bias;
  };
  struct Norm {
    const void* gamma;
    const void* beta;
  };
  /// Views of one layer's slots.
  struct Layer {
    Projection qkv, dense, ffn, ffn_output;
    Norm attention_norm, output_norm;
  };
  /// Views of the session's ids.
  struct Ids {
    int32_t *cu_seqlens, *first_rows, *tokens, *positions, *token_types;
  };
  /// One iteration's share of the workspace.
  struct Buffers {
    Matrix qkv;       // [T, 3 H] }
    Matrix context;   // [T, H]   } these two and
    Matrix ffn;       // [T, I]   } this one lie in the same place: attention is over before the FFN begins
    Matrix attended;  // [T, H]
    Matrix sums;      // [T, H] of sum_dtype, where that is not dtype; else empty
    Scratch scratch;
  };

  Projection projection(const std::string& slot) const;
  Norm norm(const std::string& slot) const;
  Ids ids_of(const Session& session) const;
  Buffers iteration_buffers(Session& session, Stream stream) const;
  void upload_ids(const RaggedBatch* batch, Session& session, Stream stream) const;
  void run_layer(const Layer& layer, const Session& session, const Run& run, const Buffers& buffers,
                 Stream stream) const;
  void add_and_normalize(const Projection& projection, const Norm& norm, ConstMatrix x, ConstMatrix residual,
                         Matrix sums, Matrix y, Scratch scratch, Stream stream) const;
  void pool_first(Session& session, Matrix first, Matrix pooled, DType dtype, Scratch scratch, Stream stream) const;
  void clear_empty(const Session& session, Matrix out, Stream stream) const;

  const WeightBuffer& weights_;
  const Ops& ops_;
  ModelConfig config_;
  std::vector<std::vector<Layer>> groups_;  // [group][inner]
};

}  // namespace albert_fast

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
  explicit Session(const Ops& ops) : hidden_(ops), workspace_(ops) {}

  const Progress& progress() const { return progress_; }

 private:
  friend class Encoder;
  Progress progress_;
  DeviceBuffer hidden_;     // [T, H], the hidden states at each sequence's depth
  DeviceBuffer workspace_;  // what an iteration or a head needs besides; nothing in it outlives a call
};

/// Borrows the weights; const and therefore shared by threads, each with its own Session.
class Encoder {
 public:
  /// Throws CheckpointError if a tensor was not written.
  explicit Encoder(const WeightBuffer& weights);

  const ModelConfig& config() const { return config_; }
  Heads heads() const { return weights_.layout().heads(); }
  const Ops& ops() const { return ops_; }

  /// Puts a batch into the session at depth 0: embeddings and the mapping E -> H. Validates the batch.
  void embed(const RaggedBatch& batch, Session& session, Stream stream) const;

  /// One iteration for every sequence that is not done; they may be at different depths. False: all were done.
  bool advance(Session& session, Stream stream) const;

  /// Replaces the session's batch by those of `parts`, end to end, each sequence at its depth.
  void join(const std::vector<const Session*>& parts, Session& session) const;

  /// The session's hidden states, [T, H], valid until the session changes.
  Matrix hidden_states(const Session& session) const;

  /// The hidden states of each sequence pooled into `out` [B, H].
  void pool(const Session& session, Pooling pooling, Matrix out, Stream stream) const;

  /// tanh(W x + b) of first tokens x [n, H] into `out` [n, H].
  void pooler(ConstMatrix x, Matrix out, Session& session, Stream stream) const;

  /// Logits over the vocabulary of hidden states x [n, H], at chosen positions only, into `out` [n, V].
  void mlm_logits(ConstMatrix x, Matrix out, Session& session, Stream stream) const;

  /// Logits (in order, swapped) of pooled sequences x [B, H] into `out` [B, 2].
  void sop_logits(ConstMatrix x, Matrix out, Session& session, Stream stream) const;

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
  /// One iteration's share of the workspace.
  struct Buffers {
    Matrix qkv;       // [T, 3 H] }
    Matrix context;   // [T, H]   } these two and
    Matrix ffn;       // [T, I]   } this one lie in the same place: attention is over before the FFN begins
    Matrix attended;  // [T, H]
    Scratch scratch;
  };

  Projection projection(const std::string& slot) const;
  Norm norm(const std::string& slot) const;
  Buffers iteration_buffers(Session& session, Stream stream) const;
  void run_layer(const Layer& layer, const Progress& progress, const Run& run, Matrix hidden, const Buffers& buffers,
                 Stream stream) const;
  void linear(const Projection& projection, Activation activation, ConstMatrix x, ConstMatrix residual, Matrix y,
              Scratch scratch, Stream stream) const;
  void apply_head(const std::string& slot, Activation activation, ConstMatrix x, Matrix out, Session& session,
                  Stream stream) const;
  void normalize(const Norm& norm, Matrix x, Stream stream) const;

  const WeightBuffer& weights_;
  const Ops& ops_;
  ModelConfig config_;
  std::vector<std::vector<Layer>> groups_;  // [group][inner]
};

}  // namespace albert_fast

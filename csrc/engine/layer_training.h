// One layer forwards and backwards, and what it leaves for the way back.
//
// What belongs to the layers that run one after the other lies in tall matrices, a slot of T rows for each, so that the
// gradient of a weight over several of them is one product: dW = dY^T X over slots x T rows.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/carver.h"
#include "engine/layer_parameters.h"
#include "kernels/ops.h"

namespace albert_fast {

/// What all layers of an encoder share.
struct LayerShape {
  int64_t hidden_size;        // H
  int64_t intermediate_size;  // I
  int64_t num_attention_heads;
  Activation activation;
  double layer_norm_eps;
  double hidden_dropout;     // of the attention's output, before the residual
  double attention_dropout;  // of softmax

  int64_t head_dim() const { return hidden_size / num_attention_heads; }
};

/// The sequences of a call.
struct Sequences {
  const int32_t* cu_seqlens;  // [B + 1], of the device
  int64_t count;              // B
  int64_t longest;
  int64_t num_tokens;  // T
};

/// What the forward pass leaves, tall. x, context, attended and (from it) activated are operands of weight gradients.
struct Tape {
  Matrix x;               // [slots T, H]
  Matrix qkv;             // [slots T, 3 H]
  Matrix lse;             // [slots T, num_heads], of sum_dtype
  Matrix context;         // [slots T, H], what attention gives
  Matrix attention_sums;  // [slots T, H], of sum_dtype: what the first LayerNorm is given
  Matrix attended;        // [slots T, H]
  Matrix ffn;             // [slots T, I], before the activation
  Matrix output_sums;     // [slots T, H], of sum_dtype: what the second LayerNorm is given
};

/// The other operands of weight gradients, left by the backward pass, tall.
struct GradientTape {
  Matrix doutput_sums;  // [slots T, H]
  Matrix activated;     // [slots T, I]; before that, the gradient of it
  Matrix dffn;          // [slots T, I]
  Matrix ddense;        // [slots T, H]
  Matrix dqkv;          // [slots T, 3 H]
};

/// The products that a layer's weight gradients are, each of a weight (of three for the projections) and its bias: a
/// bit for each that is wanted. An adapter or a frozen encoder needs few of them or none.
enum WeightProduct : uint32_t {
  kFfnOutputProduct = 1,
  kFfnProduct = 2,
  kDenseProduct = 4,
  kProjectionsProduct = 8,
  kAllProducts = 15,
};

/// Memory of one layer at a time.
struct LayerWorkspace {
  Matrix wide;             // [T, I]
  Matrix narrow;           // [T, H]
  Matrix dattention_sums;  // [T, H]
  Scratch scratch;
};

/// Runs layers of one shape on one backend; holds no memory.
class LayerTraining {
 public:
  LayerTraining(const Ops& ops, const LayerShape& shape) : ops_(ops), shape_(shape) {}

  const LayerShape& shape() const { return shape_; }
  const Ops& ops() const { return ops_; }

  /// Tall matrices carved for so many slots. `attention_slots` of qkv and lse may be fewer: a layer's are not needed
  /// once it has gone back.
  Tape tape(Carver& carver, int64_t tokens, int64_t slots, int64_t attention_slots) const;
  GradientTape gradient_tape(Carver& carver, int64_t tokens, int64_t slots) const;
  /// The same in the place of what `tape` does not need any more, as far as dtypes allow.
  GradientTape gradient_tape_over(const Tape& tape, Carver& carver, int64_t tokens, int64_t slots) const;
  LayerWorkspace workspace(Carver& carver, const Sequences& sequences, int64_t deferred, Stream stream) const;

  /// Slot `slot` of a tall matrix.
  Matrix slot(const Matrix& tall, int64_t index, int64_t tokens, DType dtype) const;
  Tape slot(const Tape& tape, int64_t index, int64_t attention_index, int64_t tokens) const;
  GradientTape slot(const GradientTape& tape, int64_t index, int64_t tokens) const;

  /// y = layer(x), filling the tape's slot but for its x. `place` numbers the layer's dropouts.
  void forward(const LayerParameters& parameters, const Sequences& sequences, ConstMatrix x, const Tape& slot, Matrix y,
               uint64_t seed, uint32_t place, const LayerWorkspace& workspace, Stream stream) const;

  /// The same up to the slot's ffn: all that a layer has to compute again whose output_sums were kept.
  void forward_to_ffn(const LayerParameters& parameters, const Sequences& sequences, ConstMatrix x, const Tape& slot,
                      uint64_t seed, uint32_t place, const LayerWorkspace& workspace, Stream stream) const;

  /// y = LN(output_sums), a layer's last step.
  void output_norm(const LayerParameters& parameters, ConstMatrix output_sums, Matrix y, Stream stream) const;

  /// dx from dy, which it may be; fills the gradient tape's slot and adds to the gradients of the LayerNorms.
  void backward(const LayerParameters& parameters, const Sequences& sequences, const Tape& slot,
                const GradientTape& gradients, ConstMatrix dy, Matrix dx, uint64_t seed, uint32_t place, char* norms,
                Into into, const LayerWorkspace& workspace, Stream stream) const;

  /// The gradients of weights and biases over slots [first, last) of both tapes: the wanted `products`, bits of
  /// WeightProduct. What is not wanted is not written.
  void weight_gradients(const Tape& tape, const GradientTape& gradients, int64_t tape_first, int64_t gradients_first,
                        int64_t count, int64_t tokens, uint32_t products, char* gradient, Into into, Scratch scratch,
                        Stream stream) const;

  GradientLayout gradient_layout() const { return {shape_.hidden_size, shape_.intermediate_size}; }

 private:
  void project(const LayerParameters& parameters, ConstMatrix x, Matrix qkv, Scratch scratch, Stream stream) const;
  void project_back(const LayerParameters& parameters, ConstMatrix dqkv, ConstMatrix residual, Matrix dx,
                    Scratch scratch, Stream stream) const;
  Weight weight(const LayerParameters& parameters, LayerTensor tensor, int64_t tensors = 1) const;
  bool adjacent(const LayerParameters& parameters) const;
  Matrix columns(const Matrix& m, int64_t first, int64_t count) const;
  Dropout attention_dropout(uint64_t seed, uint32_t place) const;
  Dropout hidden_dropout(uint64_t seed, uint32_t place) const;

  const Ops& ops_;
  LayerShape shape_;
};

}  // namespace albert_fast

// The encoder forwards and backwards, for torch: parameters and memory belong to the caller, and every layer may run
// many times.
//
// What the forward pass keeps is a choice (Chen et al. 2016, "Training deep nets with sublinear memory cost"):
//
//     kept              all: one tape of all layers              the input of every k-th layer
//     backward,         for a chunk of layers, last first:       the same; but first the chunk runs forwards again,
//                         back through each                      from the inputs that were kept, into a tape of its own
//                         weight gradients of the chunk: one product over chunk x T rows
//
// An input is kept as what its LayerNorm was given, the sums that the layer before it ends with. Its own LayerNorm is
// soon done again, and the layer before it, on its way back, needs those sums: it has no second product of its
// feed-forward to compute again, a third of its work.
//
// A chunk of one layer is what everybody does: add to the gradient of the one weight after each layer. A longer one is
// written once for all of its layers.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/device_buffer.h"
#include "engine/layer_training.h"

namespace albert_fast {

/// Which activations the forward pass keeps.
struct KeepPolicy {
  int64_t every = 0;  // the input of every so manieth layer; 0: everything

  bool all() const { return every == 0; }
};

/// One call's arrays; T rows of H in all of them.
struct TrainingCall {
  std::vector<int32_t> cu_seqlens;          // [B + 1], host
  std::vector<LayerParameters> parameters;  // one for each parameter set
  uint64_t seed = 0;                        // of dropout; the same forwards and backwards
  void* saved = nullptr;                    // saved_bytes(T)
  uint32_t products = kAllProducts;         // WeightProducts that are wanted of the backward pass

  int64_t num_tokens() const { return cu_seqlens.back(); }
};

class EncoderTraining {
 public:
  /// `layers`: the parameter set of each layer, in the order in which they run.
  EncoderTraining(const Ops& ops, const LayerShape& shape, std::vector<int32_t> layers, KeepPolicy keep);

  int64_t num_parameter_sets() const { return num_sets_; }
  const LayerTraining& layer() const { return layer_; }

  /// What the forward pass leaves for the backward pass.
  size_t saved_bytes(int64_t num_tokens) const;

  /// Memory that one more layer in a chunk takes.
  size_t chunk_layer_bytes(int64_t num_tokens) const;

  /// Memory of a step beyond parameters, gradients, x, y, dx and dy: what is saved, and the workspace.
  size_t step_bytes(const std::vector<int32_t>& cu_seqlens, int64_t chunk, Stream stream) const;

  /// y = layers(x). `workspace` grows as needed.
  void forward(const TrainingCall& call, ConstMatrix x, Matrix y, DeviceBuffer& workspace, Stream stream) const;

  /// dx from dy, and into `gradients`, one buffer of GradientLayout for each parameter set, the parameters' gradients.
  /// `chunk`: layers whose weight gradients are one product.
  void backward(const TrainingCall& call, ConstMatrix dy, Matrix dx, const std::vector<void*>& gradients, int64_t chunk,
                DeviceBuffer& workspace, Stream stream) const;

 private:
  struct Kept;
  struct Forward;
  struct Backward;

  int64_t num_layers() const { return static_cast<int64_t>(layers_.size()); }
  int64_t chunk_of(int64_t chunk) const;
  Forward forward_state(Carver& carver, const std::vector<int32_t>& cu_seqlens, Stream stream) const;
  Backward backward_state(Carver& carver, const std::vector<int32_t>& cu_seqlens, int64_t size, Stream stream) const;
  bool ends_segment(int64_t layer) const;
  Kept kept(Carver& carver, int64_t num_tokens) const;
  Kept kept(void* saved, int64_t num_tokens) const;
  Tape with_kept_sums(Tape slot, const Kept& kept, int64_t layer, int64_t num_tokens) const;
  void run_back(const TrainingCall& call, Backward& state, int64_t first, int64_t last,
                const std::vector<void*>& gradients, Stream stream) const;
  void rerun(const TrainingCall& call, const Backward& state, int64_t begin, int64_t first, int64_t end,
             Stream stream) const;
  void add_weight_gradients(const TrainingCall& call, Backward& state, int64_t first, int64_t last,
                            const std::vector<void*>& gradients, Stream stream) const;

  LayerTraining layer_;
  std::vector<int32_t> layers_;
  KeepPolicy keep_;
  int64_t num_sets_;
};

}  // namespace albert_fast

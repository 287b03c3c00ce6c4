#include "engine/training.h"

#include <algorithm>
#include <string>
#include <utility>

#include "engine/carver.h"
#include "engine/support.h"
#include "kernels/errors.h"

namespace albert_fast {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t longest_of(const std::vector<int32_t>& cu_seqlens) {
  int64_t longest = 0;
  for (size_t b = 1; b < cu_seqlens.size(); ++b) {
    longest = std::max<int64_t>(longest, cu_seqlens[b] - cu_seqlens[b - 1]);
  }
  return longest;
}

/// The device's copy of cu_seqlens; it is filled by `upload`.
Sequences sequences_of(const TrainingCall& call, Carver& carver) {
  const auto entries = static_cast<int64_t>(call.cu_seqlens.size());
  return {carver.ints(entries), entries - 1, longest_of(call.cu_seqlens), call.num_tokens()};
}

void upload(const Ops& ops, const TrainingCall& call, const Sequences& sequences, Stream stream) {
  ops.upload(const_cast<int32_t*>(sequences.cu_seqlens), call.cu_seqlens.data(),
             call.cu_seqlens.size() * sizeof(int32_t), stream);
}

void copy(const Ops& ops, const Matrix& to, const ConstMatrix& from, Stream stream) {
  ops.copy(to.data, from.data, from.rows * from.cols * size_of(ops.dtype), stream);
}

/// The first to write a parameter set's gradient starts it, the others add to it.
Into take_turn(std::vector<bool>& started, int32_t set) {
  const Into into = started[set] ? Into::kAdd : Into::kOverwrite;
  started[set] = true;
  return into;
}

}  // namespace

EncoderTraining::EncoderTraining(const Ops& ops, const LayerShape& shape, std::vector<int32_t> layers, KeepPolicy keep)
    : layer_(ops, shape), layers_(std::move(layers)), keep_(keep), num_sets_(0) {
  const std::string reason = unsupported_by(ops, shape);
  if (!reason.empty()) throw ConfigError(reason);
  if (keep.every < 0) {
    throw InvalidInputError("keep: got " + std::to_string(keep.every) + ", expected 'all' or at least 1");
  }
  if (layers_.empty()) throw InvalidInputError("layers: got none, expected at least one");
  num_sets_ = 1 + *std::max_element(layers_.begin(), layers_.end());
  for (int32_t set = 0; set < num_sets_; ++set) {
    if (std::find(layers_.begin(), layers_.end(), set) != layers_.end()) continue;
    throw InvalidInputError("layers: got none of parameter set " + std::to_string(set) +
                            ", expected every one from 0 to " + std::to_string(num_sets_ - 1));
  }
  if (*std::min_element(layers_.begin(), layers_.end()) < 0) {
    throw InvalidInputError("layers: got a negative parameter set, expected indices from 0 on");
  }
}

Matrix EncoderTraining::kept_inputs(void* saved, int64_t num_tokens) const {
  const int64_t h = layer_.shape().hidden_size;
  return {saved, ceil_div(num_layers(), keep_.every) * num_tokens, h, h};
}

size_t EncoderTraining::saved_bytes(int64_t num_tokens) const {
  Carver carver(nullptr);
  if (keep_.all()) {
    layer_.tape(carver, num_tokens, num_layers(), num_layers());
  } else {
    const Matrix inputs = kept_inputs(nullptr, num_tokens);
    carver.matrix(inputs.rows, inputs.cols, layer_.ops().dtype);
  }
  return carver.offset();
}

size_t EncoderTraining::chunk_layer_bytes(int64_t num_tokens) const {
  Carver carver(nullptr);
  if (keep_.all()) {
    layer_.gradient_tape(carver, num_tokens, 1);
  } else {
    layer_.gradient_tape_over(layer_.tape(carver, num_tokens, 1, 0), carver, num_tokens, 1);
  }
  return carver.offset();
}

/// Where the forward pass works.
struct EncoderTraining::Forward {
  Sequences sequences;
  LayerWorkspace layer;
  Tape tape;       // of all layers, in the caller's memory, or one slot that each layer overwrites
  Matrix passing;  // [2 T, H], inputs that are not kept
};

void EncoderTraining::forward(const TrainingCall& call, ConstMatrix x, Matrix y, DeviceBuffer& workspace,
                              Stream stream) const {
  const Ops& ops = layer_.ops();
  const int64_t tokens = call.num_tokens(), h = layer_.shape().hidden_size;
  Forward state = carve(workspace, [&](Carver& carver) {
    Forward made;
    made.sequences = sequences_of(call, carver);
    made.layer = layer_.workspace(carver, made.sequences, 1, stream);
    if (!keep_.all()) {
      made.tape = layer_.tape(carver, tokens, 1, 1);
      made.passing = carver.matrix(2 * tokens, h, ops.dtype);
    }
    return made;
  });
  Matrix kept;
  if (keep_.all()) {
    Carver saved(static_cast<char*>(call.saved));
    state.tape = layer_.tape(saved, tokens, num_layers(), num_layers());
  } else {
    kept = kept_inputs(call.saved, tokens);
  }
  upload(ops, call, state.sequences, stream);

  const auto input_of = [&](int64_t layer) {
    if (layer == num_layers()) return y;
    if (keep_.all()) return layer_.slot(state.tape.x, layer, tokens, ops.dtype);
    if (layer % keep_.every == 0) return layer_.slot(kept, layer / keep_.every, tokens, ops.dtype);
    return layer_.slot(state.passing, layer % 2, tokens, ops.dtype);
  };
  copy(ops, input_of(0), x, stream);
  for (int64_t n = 0; n < num_layers(); ++n) {
    const int64_t index = keep_.all() ? n : 0;
    layer_.forward(call.parameters[layers_[n]], state.sequences, input_of(n),
                   layer_.slot(state.tape, index, index, tokens), input_of(n + 1), call.seed, static_cast<uint32_t>(n),
                   state.layer, stream);
  }
}

/// Where the backward pass works, and how far it has come.
struct EncoderTraining::Backward {
  Sequences sequences;
  LayerWorkspace layer;
  Tape tape;               // of all layers, or of a chunk
  GradientTape gradients;  // of a chunk
  ConstMatrix dy;          // of the layer that comes next
  Matrix dx;
  std::vector<bool> norms_started, weights_started;  // by parameter set
};

int64_t EncoderTraining::chunk_of(int64_t chunk) const {
  const int64_t whole = keep_.all() ? chunk : ceil_div(chunk, keep_.every) * keep_.every;
  return std::min(std::max<int64_t>(whole, 1), num_layers());
}

void EncoderTraining::backward(const TrainingCall& call, ConstMatrix dy, Matrix dx, const std::vector<void*>& gradients,
                               int64_t chunk, DeviceBuffer& workspace, Stream stream) const {
  const int64_t tokens = call.num_tokens(), size = chunk_of(chunk);
  Backward state = carve(workspace, [&](Carver& carver) {
    Backward made;
    made.sequences = sequences_of(call, carver);
    made.layer = layer_.workspace(carver, made.sequences, size, stream);
    if (keep_.all()) {
      made.gradients = layer_.gradient_tape(carver, tokens, size);
    } else {
      made.tape = layer_.tape(carver, tokens, size, std::min(keep_.every, size));
      made.gradients = layer_.gradient_tape_over(made.tape, carver, tokens, size);
    }
    return made;
  });
  if (keep_.all()) {
    Carver saved(static_cast<char*>(call.saved));
    state.tape = layer_.tape(saved, tokens, num_layers(), num_layers());
  }
  state.dy = dy, state.dx = dx;
  state.norms_started.resize(num_sets_);
  state.weights_started.resize(num_sets_);
  upload(layer_.ops(), call, state.sequences, stream);
  for (int64_t first = (num_layers() - 1) / size * size; first >= 0; first -= size) {
    run_back(call, state, first, std::min(first + size, num_layers()), gradients, stream);
  }
}

/// Layers [first, last), a chunk, last first.
void EncoderTraining::run_back(const TrainingCall& call, Backward& state, int64_t first, int64_t last,
                               const std::vector<void*>& gradients, Stream stream) const {
  const int64_t tokens = call.num_tokens();
  int64_t ready = keep_.all() ? first : last;  // layers from here on have their tape
  for (int64_t n = last - 1; n >= first; --n) {
    if (n < ready) {
      ready = n / keep_.every * keep_.every;
      rerun(call, state, ready, first, n + 1, stream);
    }
    const Tape tape = keep_.all() ? layer_.slot(state.tape, n, n, tokens)
                                  : layer_.slot(state.tape, n - first, n % keep_.every, tokens);
    const int32_t set = layers_[n];
    layer_.backward(call.parameters[set], state.sequences, tape, layer_.slot(state.gradients, n - first, tokens),
                    state.dy, state.dx, call.seed, static_cast<uint32_t>(n), static_cast<char*>(gradients[set]),
                    take_turn(state.norms_started, set), state.layer, stream);
    state.dy = state.dx;
  }
  add_weight_gradients(call, state, first, last, gradients, stream);
}

/// Layers [begin, end) forwards again, `begin` being one whose input was kept, into the tape of the chunk from `first`.
void EncoderTraining::rerun(const TrainingCall& call, const Backward& state, int64_t begin, int64_t first, int64_t end,
                            Stream stream) const {
  const Ops& ops = layer_.ops();
  const int64_t tokens = call.num_tokens();
  const auto input_of = [&](int64_t layer) { return layer_.slot(state.tape.x, layer - first, tokens, ops.dtype); };
  const Matrix kept = kept_inputs(call.saved, tokens);
  copy(ops, input_of(begin), layer_.slot(kept, begin / keep_.every, tokens, ops.dtype), stream);
  for (int64_t n = begin; n < end; ++n) {
    const Matrix y = n + 1 < end ? input_of(n + 1) : state.layer.dattention_sums;  // nobody needs the last one
    layer_.forward(call.parameters[layers_[n]], state.sequences, input_of(n),
                   layer_.slot(state.tape, n - first, n % keep_.every, tokens), y, call.seed, static_cast<uint32_t>(n),
                   state.layer, stream);
  }
}

/// One product for neighbouring layers of one parameter set.
void EncoderTraining::add_weight_gradients(const TrainingCall& call, Backward& state, int64_t first, int64_t last,
                                           const std::vector<void*>& gradients, Stream stream) const {
  for (int64_t begin = first, end; begin < last; begin = end) {
    const int32_t set = layers_[begin];
    for (end = begin + 1; end < last && layers_[end] == set;) ++end;
    layer_.weight_gradients(state.tape, state.gradients, keep_.all() ? begin : begin - first, begin - first,
                            end - begin, call.num_tokens(), static_cast<char*>(gradients[set]),
                            take_turn(state.weights_started, set), state.layer.scratch, stream);
  }
}

}  // namespace albert_fast

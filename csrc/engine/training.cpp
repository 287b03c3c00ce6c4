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
Sequences sequences_of(const std::vector<int32_t>& cu_seqlens, Carver& carver) {
  const auto entries = static_cast<int64_t>(cu_seqlens.size());
  return {carver.ints(entries), entries - 1, longest_of(cu_seqlens), cu_seqlens.back()};
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

/// What is kept if not all is: of segments of `every` layers, the last of which may be shorter.
struct EncoderTraining::Kept {
  Matrix x;     // [T, H], the first layer's input
  Matrix sums;  // [segments T, H], of sum_dtype: what the last LayerNorm of each segment is given
};

EncoderTraining::Kept EncoderTraining::kept(Carver& carver, int64_t num_tokens) const {
  const int64_t h = layer_.shape().hidden_size, segments = ceil_div(num_layers(), keep_.every);
  const Matrix x = carver.matrix(num_tokens, h, layer_.ops().dtype);
  return {x, carver.matrix(segments * num_tokens, h, layer_.ops().sum_dtype)};
}

EncoderTraining::Kept EncoderTraining::kept(void* saved, int64_t num_tokens) const {
  Carver carver(static_cast<char*>(saved));
  return kept(carver, num_tokens);
}

bool EncoderTraining::ends_segment(int64_t layer) const {
  return (layer + 1) % keep_.every == 0 || layer + 1 == num_layers();
}

/// The slot with the kept sums in it, if the layer's are.
Tape EncoderTraining::with_kept_sums(Tape slot, const Kept& kept, int64_t layer, int64_t num_tokens) const {
  if (!keep_.all() && ends_segment(layer)) {
    slot.output_sums = layer_.slot(kept.sums, layer / keep_.every, num_tokens, layer_.ops().sum_dtype);
  }
  return slot;
}

size_t EncoderTraining::saved_bytes(int64_t num_tokens) const {
  Carver carver(nullptr);
  if (keep_.all()) {
    layer_.tape(carver, num_tokens, num_layers(), num_layers());
  } else {
    kept(carver, num_tokens);
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

EncoderTraining::Forward EncoderTraining::forward_state(Carver& carver, const std::vector<int32_t>& cu_seqlens,
                                                        Stream stream) const {
  Forward made;
  made.sequences = sequences_of(cu_seqlens, carver);
  made.layer = layer_.workspace(carver, made.sequences, 1, stream);
  if (!keep_.all()) {
    const int64_t tokens = made.sequences.num_tokens;
    made.tape = layer_.tape(carver, tokens, 1, 1);
    made.passing = carver.matrix(2 * tokens, layer_.shape().hidden_size, layer_.ops().dtype);
  }
  return made;
}

void EncoderTraining::forward(const TrainingCall& call, ConstMatrix x, Matrix y, DeviceBuffer& workspace,
                              Stream stream) const {
  const Ops& ops = layer_.ops();
  const int64_t tokens = call.num_tokens();
  Forward state = carve(workspace, [&](Carver& carver) { return forward_state(carver, call.cu_seqlens, stream); });
  Kept kept;
  if (keep_.all()) {
    Carver saved(static_cast<char*>(call.saved));
    state.tape = layer_.tape(saved, tokens, num_layers(), num_layers());
  } else {
    kept = this->kept(call.saved, tokens);
  }
  upload(ops, call, state.sequences, stream);

  const auto input_of = [&](int64_t layer) {
    if (layer == num_layers()) return y;
    if (keep_.all()) return layer_.slot(state.tape.x, layer, tokens, ops.dtype);
    return layer == 0 ? kept.x : layer_.slot(state.passing, layer % 2, tokens, ops.dtype);
  };
  copy(ops, input_of(0), x, stream);
  for (int64_t n = 0; n < num_layers(); ++n) {
    const int64_t index = keep_.all() ? n : 0;
    const Tape slot = with_kept_sums(layer_.slot(state.tape, index, index, tokens), kept, n, tokens);
    layer_.forward(call.parameters[layers_[n]], state.sequences, input_of(n), slot, input_of(n + 1), call.seed,
                   static_cast<uint32_t>(n), state.layer, stream);
  }
}

/// Where the backward pass works, and how far it has come.
struct EncoderTraining::Backward {
  Sequences sequences;
  LayerWorkspace layer;
  Tape tape;               // of all layers, or of a chunk
  Kept kept;               // unless all are
  GradientTape gradients;  // of a chunk
  ConstMatrix dy;          // of the layer that comes next
  Matrix dx;
  std::vector<bool> norms_started, weights_started;  // by parameter set
};

int64_t EncoderTraining::chunk_of(int64_t chunk) const {
  const int64_t whole = keep_.all() ? chunk : ceil_div(chunk, keep_.every) * keep_.every;
  return std::min(std::max<int64_t>(whole, 1), num_layers());
}

EncoderTraining::Backward EncoderTraining::backward_state(Carver& carver, const std::vector<int32_t>& cu_seqlens,
                                                          int64_t size, Stream stream) const {
  Backward made;
  made.sequences = sequences_of(cu_seqlens, carver);
  made.layer = layer_.workspace(carver, made.sequences, size, stream);
  const int64_t tokens = made.sequences.num_tokens;
  if (keep_.all()) {
    made.gradients = layer_.gradient_tape(carver, tokens, size);
  } else {
    made.tape = layer_.tape(carver, tokens, size, std::min(keep_.every, size));
    made.gradients = layer_.gradient_tape_over(made.tape, carver, tokens, size);
  }
  return made;
}

size_t EncoderTraining::step_bytes(const std::vector<int32_t>& cu_seqlens, int64_t chunk, Stream stream) const {
  Carver forward(nullptr), backward(nullptr);
  forward_state(forward, cu_seqlens, stream);
  backward_state(backward, cu_seqlens, chunk_of(chunk), stream);
  return saved_bytes(cu_seqlens.back()) + std::max(forward.offset(), backward.offset());
}

void EncoderTraining::backward(const TrainingCall& call, ConstMatrix dy, Matrix dx, const std::vector<void*>& gradients,
                               int64_t chunk, DeviceBuffer& workspace, Stream stream) const {
  const int64_t tokens = call.num_tokens(), size = chunk_of(chunk);
  Backward state =
      carve(workspace, [&](Carver& carver) { return backward_state(carver, call.cu_seqlens, size, stream); });
  if (keep_.all()) {
    Carver saved(static_cast<char*>(call.saved));
    state.tape = layer_.tape(saved, tokens, num_layers(), num_layers());
  } else {
    state.kept = kept(call.saved, tokens);
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
    const int64_t index = keep_.all() ? n : n - first, attention_index = keep_.all() ? n : n % keep_.every;
    const Tape slot = with_kept_sums(layer_.slot(state.tape, index, attention_index, tokens), state.kept, n, tokens);
    const int32_t set = layers_[n];
    layer_.backward(call.parameters[set], state.sequences, slot, layer_.slot(state.gradients, n - first, tokens),
                    state.dy, state.dx, call.seed, static_cast<uint32_t>(n), static_cast<char*>(gradients[set]),
                    take_turn(state.norms_started, set), state.layer, stream);
    state.dy = state.dx;
  }
  add_weight_gradients(call, state, first, last, gradients, stream);
}

/// Layers [begin, end), a segment, forwards again into the tape of the chunk from `first`.
void EncoderTraining::rerun(const TrainingCall& call, const Backward& state, int64_t begin, int64_t first, int64_t end,
                            Stream stream) const {
  const Ops& ops = layer_.ops();
  const int64_t tokens = call.num_tokens();
  const auto input_of = [&](int64_t layer) { return layer_.slot(state.tape.x, layer - first, tokens, ops.dtype); };
  if (begin == 0) {
    copy(ops, input_of(0), state.kept.x, stream);
  } else {
    const Matrix sums = layer_.slot(state.kept.sums, begin / keep_.every - 1, tokens, ops.sum_dtype);
    layer_.output_norm(call.parameters[layers_[begin - 1]], sums, input_of(begin), stream);
  }
  for (int64_t n = begin; n < end; ++n) {
    const LayerParameters& parameters = call.parameters[layers_[n]];
    const Tape slot = layer_.slot(state.tape, n - first, n % keep_.every, tokens);
    const auto place = static_cast<uint32_t>(n);
    if (ends_segment(n)) {
      layer_.forward_to_ffn(parameters, state.sequences, input_of(n), slot, call.seed, place, state.layer, stream);
    } else {
      layer_.forward(parameters, state.sequences, input_of(n), slot, input_of(n + 1), call.seed, place, state.layer,
                     stream);
    }
  }
}

/// One product for neighbouring layers of one parameter set.
void EncoderTraining::add_weight_gradients(const TrainingCall& call, Backward& state, int64_t first, int64_t last,
                                           const std::vector<void*>& gradients, Stream stream) const {
  for (int64_t begin = first, end; begin < last; begin = end) {
    const int32_t set = layers_[begin];
    for (end = begin + 1; end < last && layers_[end] == set;) ++end;
    layer_.weight_gradients(state.tape, state.gradients, keep_.all() ? begin : begin - first, begin - first,
                            end - begin, call.num_tokens(), call.products, static_cast<char*>(gradients[set]),
                            take_turn(state.weights_started, set), state.layer.scratch, stream);
  }
}

}  // namespace albert_fast

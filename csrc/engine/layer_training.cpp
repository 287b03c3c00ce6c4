#include "engine/layer_training.h"

#include <algorithm>

namespace albert_fast {
namespace {

/// Two dropouts of one layer never share numbers.
enum Place : uint32_t { kAttentionPlace, kHiddenPlace, kPlaces };

}  // namespace

Matrix LayerTraining::slot(const Matrix& tall, int64_t index, int64_t tokens, DType dtype) const {
  return {static_cast<char*>(tall.data) + index * tokens * tall.stride * size_of(dtype), tokens, tall.cols,
          tall.stride};
}

Tape LayerTraining::slot(const Tape& tape, int64_t index, int64_t attention_index, int64_t tokens) const {
  const DType dtype = ops_.dtype, sums = ops_.sum_dtype;
  return {slot(tape.x, index, tokens, dtype),
          slot(tape.qkv, attention_index, tokens, dtype),
          slot(tape.lse, attention_index, tokens, sums),
          slot(tape.context, index, tokens, dtype),
          slot(tape.attention_sums, index, tokens, sums),
          slot(tape.attended, index, tokens, dtype),
          slot(tape.ffn, index, tokens, dtype),
          slot(tape.output_sums, index, tokens, sums)};
}

GradientTape LayerTraining::slot(const GradientTape& tape, int64_t index, int64_t tokens) const {
  const DType dtype = ops_.dtype;
  return {slot(tape.doutput_sums, index, tokens, dtype), slot(tape.activated, index, tokens, dtype),
          slot(tape.dffn, index, tokens, dtype), slot(tape.ddense, index, tokens, dtype),
          slot(tape.dqkv, index, tokens, dtype)};
}

Tape LayerTraining::tape(Carver& carver, int64_t tokens, int64_t slots, int64_t attention_slots) const {
  const int64_t rows = slots * tokens, attention_rows = attention_slots * tokens, h = shape_.hidden_size;
  const DType dtype = ops_.dtype, sums = ops_.sum_dtype;
  Tape tape;
  tape.x = carver.matrix(rows, h, dtype);
  tape.qkv = carver.matrix(attention_rows, 3 * h, dtype);
  tape.lse = carver.matrix(attention_rows, shape_.num_attention_heads, sums);
  tape.context = carver.matrix(rows, h, dtype);
  tape.attention_sums = carver.matrix(rows, h, sums);
  tape.attended = carver.matrix(rows, h, dtype);
  tape.ffn = carver.matrix(rows, shape_.intermediate_size, dtype);
  tape.output_sums = carver.matrix(rows, h, sums);
  return tape;
}

GradientTape LayerTraining::gradient_tape(Carver& carver, int64_t tokens, int64_t slots) const {
  const int64_t rows = slots * tokens, h = shape_.hidden_size, i = shape_.intermediate_size;
  GradientTape tape;
  tape.doutput_sums = carver.matrix(rows, h, ops_.dtype);
  tape.activated = carver.matrix(rows, i, ops_.dtype);
  tape.dffn = carver.matrix(rows, i, ops_.dtype);
  tape.ddense = carver.matrix(rows, h, ops_.dtype);
  tape.dqkv = carver.matrix(rows, 3 * h, ops_.dtype);
  return tape;
}

GradientTape LayerTraining::gradient_tape_over(const Tape& tape, Carver& carver, int64_t tokens, int64_t slots) const {
  const int64_t rows = slots * tokens, h = shape_.hidden_size;
  const bool same = ops_.dtype == ops_.sum_dtype;
  GradientTape gradients;
  gradients.doutput_sums = same ? tape.output_sums : carver.matrix(rows, h, ops_.dtype);
  gradients.activated = carver.matrix(rows, shape_.intermediate_size, ops_.dtype);
  gradients.dffn = tape.ffn;
  gradients.ddense = same ? tape.attention_sums : carver.matrix(rows, h, ops_.dtype);
  gradients.dqkv = carver.matrix(rows, 3 * h, ops_.dtype);
  return gradients;
}

LayerWorkspace LayerTraining::workspace(Carver& carver, const Sequences& sequences, int64_t deferred,
                                        Stream stream) const {
  const int64_t tokens = sequences.num_tokens, h = shape_.hidden_size, i = shape_.intermediate_size;
  size_t bytes = std::max(
      {ops_.attention_scratch(sequences.longest, shape_.head_dim(), stream),
       ops_.attention_grad_scratch(tokens, sequences.longest, shape_.num_attention_heads, shape_.head_dim(), stream),
       ops_.layer_norm_grad_scratch(tokens, h, stream)});
  const int64_t products[][2] = {{3 * h, h}, {h, h}, {i, h}, {h, i}};  // [N, K]
  for (const auto& [n, k] : products) {
    bytes =
        std::max({bytes, ops_.linear_scratch(tokens, k, stream), ops_.linear_input_grad_scratch(tokens, n, k, stream),
                  ops_.linear_weight_grad_scratch(deferred * tokens, n, k, stream)});
  }
  const Matrix wide = carver.matrix(tokens, i, ops_.dtype), narrow = carver.matrix(tokens, h, ops_.dtype);
  const Matrix dattention_sums = carver.matrix(tokens, h, ops_.dtype);
  return {wide, narrow, dattention_sums, carver.scratch(bytes)};
}

Dropout LayerTraining::attention_dropout(uint64_t seed, uint32_t place) const {
  return {shape_.attention_dropout, seed, place * kPlaces + kAttentionPlace};
}

Dropout LayerTraining::hidden_dropout(uint64_t seed, uint32_t place) const {
  return {shape_.hidden_dropout, seed, place * kPlaces + kHiddenPlace};
}

/// One tensor, or the matrix of several that follow each other.
Weight LayerTraining::weight(const LayerParameters& parameters, LayerTensor tensor, int64_t tensors) const {
  const GradientLayout layout = gradient_layout();
  return {parameters[tensor], tensors * layout.rows(tensor), layout.cols(tensor), WeightForm::kPlain, ops_.dtype};
}

/// Whether query, key and value follow each other in memory, so that one product serves all three.
bool LayerTraining::adjacent(const LayerParameters& parameters) const {
  const int64_t vector = shape_.hidden_size * size_of(ops_.dtype), matrix = shape_.hidden_size * vector;
  const auto follow = [&](LayerTensor first, LayerTensor second, int64_t bytes) {
    return static_cast<const char*>(parameters[first]) + bytes == parameters[second];
  };
  return follow(kQueryWeight, kKeyWeight, matrix) && follow(kKeyWeight, kValueWeight, matrix) &&
         follow(kQueryBias, kKeyBias, vector) && follow(kKeyBias, kValueBias, vector);
}

Matrix LayerTraining::columns(const Matrix& m, int64_t first, int64_t count) const {
  return {static_cast<char*>(m.data) + first * size_of(ops_.dtype), m.rows, count, m.stride};
}

/// qkv = x [Wq; Wk; Wv]^T + [bq; bk; bv]
void LayerTraining::project(const LayerParameters& parameters, ConstMatrix x, Matrix qkv, Scratch scratch,
                            Stream stream) const {
  const auto run = [&](const Weight& w, const void* bias, Matrix y) {
    ops_.linear({x, w, bias, Activation::kNone, {}, y, ops_.dtype, scratch}, stream);
  };
  if (adjacent(parameters)) return run(weight(parameters, kQueryWeight, 3), parameters[kQueryBias], qkv);
  const int64_t h = shape_.hidden_size;
  run(weight(parameters, kQueryWeight), parameters[kQueryBias], columns(qkv, 0, h));
  run(weight(parameters, kKeyWeight), parameters[kKeyBias], columns(qkv, h, h));
  run(weight(parameters, kValueWeight), parameters[kValueBias], columns(qkv, 2 * h, h));
}

/// dx = dqkv [Wq; Wk; Wv] + residual
void LayerTraining::project_back(const LayerParameters& parameters, ConstMatrix dqkv, ConstMatrix residual, Matrix dx,
                                 Scratch scratch, Stream stream) const {
  const auto run = [&](ConstMatrix dy, const Weight& w, ConstMatrix added) {
    ops_.linear_input_grad({dy, w, added, dx, ops_.dtype, scratch}, stream);
  };
  if (adjacent(parameters)) return run(dqkv, weight(parameters, kQueryWeight, 3), residual);
  const int64_t h = shape_.hidden_size;
  const auto part = [&](int64_t index) {
    const char* data = static_cast<const char*>(dqkv.data) + index * h * size_of(ops_.dtype);
    return ConstMatrix(data, dqkv.rows, h, dqkv.stride);
  };
  run(part(0), weight(parameters, kQueryWeight), residual);
  run(part(1), weight(parameters, kKeyWeight), dx);
  run(part(2), weight(parameters, kValueWeight), dx);
}

void LayerTraining::forward_to_ffn(const LayerParameters& parameters, const Sequences& sequences, ConstMatrix x,
                                   const Tape& slot, uint64_t seed, uint32_t place, const LayerWorkspace& workspace,
                                   Stream stream) const {
  const DType dtype = ops_.dtype, sums = ops_.sum_dtype;
  const Scratch scratch = workspace.scratch;
  project(parameters, x, slot.qkv, scratch, stream);
  ops_.attention({slot.qkv, sequences.cu_seqlens, sequences.count, sequences.longest, shape_.num_attention_heads,
                  shape_.head_dim(), slot.context, scratch, slot.lse.data, attention_dropout(seed, place)},
                 stream);

  // a = LN(x + dropout(dense(context)))
  const Weight dense = weight(parameters, kDenseWeight);
  const void* dense_bias = parameters[kDenseBias];
  if (shape_.hidden_dropout > 0) {
    ops_.linear({slot.context, dense, dense_bias, Activation::kNone, {}, workspace.narrow, dtype, scratch}, stream);
    ops_.apply_dropout({workspace.narrow, hidden_dropout(seed, place), x, slot.attention_sums, sums}, stream);
  } else {
    ops_.linear({slot.context, dense, dense_bias, Activation::kNone, x, slot.attention_sums, sums, scratch}, stream);
  }
  ops_.layer_norm({slot.attention_sums, sums, parameters[kAttentionNormWeight], parameters[kAttentionNormBias],
                   shape_.layer_norm_eps, slot.attended},
                  stream);

  const Weight ffn = weight(parameters, kFfnWeight);
  ops_.linear({slot.attended, ffn, parameters[kFfnBias], Activation::kNone, {}, slot.ffn, dtype, scratch}, stream);
}

void LayerTraining::forward(const LayerParameters& parameters, const Sequences& sequences, ConstMatrix x,
                            const Tape& slot, Matrix y, uint64_t seed, uint32_t place, const LayerWorkspace& workspace,
                            Stream stream) const {
  forward_to_ffn(parameters, sequences, x, slot, seed, place, workspace, stream);

  // y = LN(a + ffn_output(activation(ffn(a))))
  ops_.activate({slot.ffn, shape_.activation, workspace.wide}, stream);
  ops_.linear({workspace.wide, weight(parameters, kFfnOutputWeight), parameters[kFfnOutputBias], Activation::kNone,
               slot.attended, slot.output_sums, ops_.sum_dtype, workspace.scratch},
              stream);
  output_norm(parameters, slot.output_sums, y, stream);
}

void LayerTraining::output_norm(const LayerParameters& parameters, ConstMatrix output_sums, Matrix y,
                                Stream stream) const {
  ops_.layer_norm({output_sums, ops_.sum_dtype, parameters[kOutputNormWeight], parameters[kOutputNormBias],
                   shape_.layer_norm_eps, y},
                  stream);
}

void LayerTraining::backward(const LayerParameters& parameters, const Sequences& sequences, const Tape& slot,
                             const GradientTape& gradients, ConstMatrix dy, Matrix dx, uint64_t seed, uint32_t place,
                             char* gradient, Into into, const LayerWorkspace& workspace, Stream stream) const {
  const DType dtype = ops_.dtype, sums = ops_.sum_dtype;
  const Scratch scratch = workspace.scratch;
  const GradientLayout layout = gradient_layout();
  const auto at = [&](LayerTensor tensor) { return gradient + layout.offset(tensor) * size_of(sums); };

  // Through y = LN(a + ffn_output(activation(ffn(a))))
  ops_.layer_norm_grad({slot.output_sums, sums, parameters[kOutputNormWeight], shape_.layer_norm_eps, dy, dtype,
                        gradients.doutput_sums, at(kOutputNormWeight), at(kOutputNormBias), into, scratch},
                       stream);
  ops_.linear_input_grad(
      {gradients.doutput_sums, weight(parameters, kFfnOutputWeight), {}, gradients.activated, dtype, scratch}, stream);
  ops_.activate_grad({slot.ffn, gradients.activated, shape_.activation, gradients.dffn, gradients.activated}, stream);
  ops_.linear_input_grad(
      {gradients.dffn, weight(parameters, kFfnWeight), gradients.doutput_sums, workspace.narrow, dtype, scratch},
      stream);

  // Through a = LN(x + dropout(dense(context)))
  const bool drops = shape_.hidden_dropout > 0;
  const Matrix dattention_sums = drops ? workspace.dattention_sums : gradients.ddense;
  ops_.layer_norm_grad(
      {slot.attention_sums, sums, parameters[kAttentionNormWeight], shape_.layer_norm_eps, workspace.narrow, dtype,
       dattention_sums, at(kAttentionNormWeight), at(kAttentionNormBias), into, scratch},
      stream);
  if (drops) {
    ops_.apply_dropout({dattention_sums, hidden_dropout(seed, place), {}, gradients.ddense, dtype}, stream);
  }
  ops_.linear_input_grad({gradients.ddense, weight(parameters, kDenseWeight), {}, workspace.narrow, dtype, scratch},
                         stream);

  // Through attention and its projections
  AttentionGrad attention;
  attention.qkv = slot.qkv;
  attention.cu_seqlens = sequences.cu_seqlens;
  attention.num_sequences = sequences.count;
  attention.max_seqlen = sequences.longest;
  attention.num_heads = shape_.num_attention_heads;
  attention.head_dim = shape_.head_dim();
  attention.out = slot.context;
  attention.lse = slot.lse.data;
  attention.dout = workspace.narrow;
  attention.dropout = attention_dropout(seed, place);
  attention.dqkv = gradients.dqkv;
  attention.scratch = scratch;
  ops_.attention_grad(attention, stream);
  project_back(parameters, gradients.dqkv, dattention_sums, dx, scratch, stream);
}

void LayerTraining::weight_gradients(const Tape& tape, const GradientTape& gradients, int64_t tape_first,
                                     int64_t gradients_first, int64_t count, int64_t tokens, uint32_t products,
                                     char* gradient, Into into, Scratch scratch, Stream stream) const {
  const GradientLayout layout = gradient_layout();
  const auto product = [&](WeightProduct which, const Matrix& dy, const Matrix& x, int64_t x_first, LayerTensor weight,
                           LayerTensor bias) {
    if ((products & which) == 0) return;
    const auto slots = [&](const Matrix& tall, int64_t first) {
      Matrix rows = slot(tall, first, tokens, ops_.dtype);
      rows.rows = count * tokens;
      return rows;
    };
    const Matrix rows = slots(dy, gradients_first);
    const size_t element = size_of(ops_.sum_dtype);
    const Matrix dweight = {gradient + layout.offset(weight) * element, rows.cols, x.cols, x.cols};
    ops_.linear_weight_grad({rows, slots(x, x_first), dweight, gradient + layout.offset(bias) * element, into, scratch},
                            stream);
  };
  product(kFfnOutputProduct, gradients.doutput_sums, gradients.activated, gradients_first, kFfnOutputWeight,
          kFfnOutputBias);
  product(kFfnProduct, gradients.dffn, tape.attended, tape_first, kFfnWeight, kFfnBias);
  product(kDenseProduct, gradients.ddense, tape.context, tape_first, kDenseWeight, kDenseBias);
  product(kProjectionsProduct, gradients.dqkv, tape.x, tape_first, kQueryWeight, kQueryBias);
}

}  // namespace albert_fast

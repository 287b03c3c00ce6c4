// out[t] = LayerNorm(word[tokens[t]] + token_type[token_types[t]] + position[positions[t]])
//
//   word [vocab_size, E],  position [max_position_embeddings, E],  token_type [type_vocab_size, E],  out [T, E]
//
//   shared memory:  | parts of sums | gamma [E] | beta [E] | token_type [type_vocab_size, E] |    tables are read once
//
//   block b:  group 0 | tokens ...        a group of threads gathers and sums a row in registers (primitives/row.cuh);
//             group 1 | tokens ...        the groups of one warp have neighbouring tokens, whose ids lie side by side
//
// A table of token types too large for shared memory is left where it is. Sums are those of fp32: (word + token type) +
// position, nothing rounded in between.
#include "matrix_checks.h"
#include "ops.h"
#include "primitives/row.cuh"
#include "row_shapes.h"

namespace albert_fast::cuda {
namespace {

template <typename T>
struct EmbedParameters {
  const int32_t* tokens;
  const int32_t* positions;
  const int32_t* token_types;
  const T* word;
  const T* position;
  const T* token_type;
  const T* gamma;
  const T* beta;
  T* out;
  int64_t rows, word_stride, position_stride, token_type_stride, out_stride;
  int width;
  int staged_types;  // rows of token_type that go to shared memory: all or none
  float inverse_width;
  float eps;
};

/// What a block may use of shared memory; every device since sm_80 has 99 KB.
constexpr size_t kSharedBudget = 64 << 10;

template <typename T, typename Shape>
__global__ void __launch_bounds__(kRowBlockThreads) embed_kernel(EmbedParameters<T> p) {
  constexpr int kVector = 16 / sizeof(T);
  extern __shared__ RowSums sums[];
  T* const gamma = reinterpret_cast<T*>(sums + 1);
  T* const beta = gamma + p.width;
  T* const staged = beta + p.width;
  copy_by_block(gamma, p.gamma, p.width);
  copy_by_block(beta, p.beta, p.width);
  for (int i = 0; i < p.staged_types; ++i) {
    copy_by_block(staged + i * p.width, p.token_type + i * p.token_type_stride, p.width);
  }
  __syncthreads();

  RowGroup<Shape::kThreads> group(*sums);
  const T* const token_type = p.staged_types > 0 ? staged : p.token_type;
  const int64_t token_type_stride = p.staged_types > 0 ? p.width : p.token_type_stride;
  walk_rows<Shape>(p.rows, [&](int64_t t) {
    const int64_t here = t < p.rows ? t : p.rows - 1;  // a row beyond the last has ids, if no numbers
    Row<Shape, kVector> row(group, t < p.rows ? p.width : 0);
    row.load(p.word + p.tokens[here] * p.word_stride);
    row.add(token_type + p.token_types[here] * token_type_stride);
    row.add(p.position + p.positions[here] * p.position_stride);
    row.standardize(p.inverse_width, p.eps);
    row.store_scaled(gamma, beta, p.out + t * p.out_stride);
  });
}

}  // namespace

template <typename T>
void embed(const Embed& op, Stream stream) {
  check_rows("word", op.word);
  check_rows("position", op.position);
  check_rows("token_type", op.token_type);
  check_rows("out", op.out);
  check_aligned("gamma", op.gamma);
  check_aligned("beta", op.beta);
  const int64_t width = op.out.cols;
  const size_t row_bytes = static_cast<size_t>(width) * sizeof(T);
  const size_t all_bytes = (2 + static_cast<size_t>(op.token_type.rows)) * row_bytes;
  const int staged_types = all_bytes <= kSharedBudget ? static_cast<int>(op.token_type.rows) : 0;
  const size_t shared_bytes = sizeof(RowSums) + (2 + static_cast<size_t>(staged_types)) * row_bytes;

  EmbedParameters<T> parameters;
  parameters.tokens = op.tokens;
  parameters.positions = op.positions;
  parameters.token_types = op.token_types;
  parameters.word = static_cast<const T*>(op.word.data);
  parameters.position = static_cast<const T*>(op.position.data);
  parameters.token_type = static_cast<const T*>(op.token_type.data);
  parameters.gamma = static_cast<const T*>(op.gamma);
  parameters.beta = static_cast<const T*>(op.beta);
  parameters.out = static_cast<T*>(op.out.data);
  parameters.rows = op.out.rows;
  parameters.word_stride = op.word.stride;
  parameters.position_stride = op.position.stride;
  parameters.token_type_stride = op.token_type.stride;
  parameters.out_stride = op.out.stride;
  parameters.width = static_cast<int>(width);
  parameters.staged_types = staged_types;
  parameters.inverse_width = 1.0f / static_cast<float>(width);
  parameters.eps = static_cast<float>(op.eps);
  with_row_shape("out", width, [&](auto shape) {
    using Shape = decltype(shape);
    launch(embed_kernel<T, Shape>, row_launch_shape<Shape>(op.out.rows, shared_bytes), stream, parameters);
  });
}

template void embed<float>(const Embed&, Stream);
template void embed<__half>(const Embed&, Stream);
template void embed<__nv_bfloat16>(const Embed&, Stream);

}  // namespace albert_fast::cuda

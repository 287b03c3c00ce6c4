// The gradient of embed, out[t] = LayerNorm(word[tokens[t]] + token_type[token_types[t]] + position[positions[t]]):
// with respect to the sum of the three rows, dsum, and to gamma and beta. Formulas and who adds what:
// primitives/layer_norm_grad.cuh.
//
//   dy [T, E],  dsum [T, E] fp32,  gamma [E],  dgamma, dbeta [E] fp32
//
//   shared memory:  | parts of sums | gamma [E] |
//
// The sum is made again as embed.cu makes it, in the same order in fp32: x^ is that of the forward pass.
#include "add_partials.h"
#include "matrix_checks.h"
#include "ops.h"
#include "primitives/layer_norm_grad.cuh"
#include "row_shapes.h"

namespace albert_fast::cuda {
namespace {

template <typename T>
struct EmbedGradParameters {
  LayerNormGradRows grad;
  const int32_t* tokens;
  const int32_t* positions;
  const int32_t* token_types;
  const T* word;
  const T* position;
  const T* token_type;
  const T* gamma;
  const T* dy;
  float* dsum;
  int64_t word_stride, position_stride, token_type_stride, dy_stride, dsum_stride;
};

/// For rows of 256 threads and 8 numbers each the compiler, left to itself (0), makes room for a fourth block on some
/// targets and spills a register.
template <typename Shape>
constexpr int kResidentBlocks = Shape::kThreads == 256 && Shape::kNumbers == 8 ? 3 : 0;

template <typename T, typename Shape>
__global__ void __launch_bounds__(kGradThreads<Shape>, kResidentBlocks<Shape>)
    embed_grad_kernel(EmbedGradParameters<T> p) {
  constexpr int kVector = 16 / sizeof(float);  // of which dsum moves 16 bytes
  extern __shared__ RowSums sums[];
  T* const gamma = reinterpret_cast<T*>(sums + 1);
  copy_by_block(gamma, p.gamma, p.grad.width);
  differentiate_rows<Shape, kVector>(
      *sums, p.grad, gamma,
      [&](auto& row, int64_t t) {
        row.load(p.word + p.tokens[t] * p.word_stride);
        row.add(p.token_type + p.token_types[t] * p.token_type_stride);
        row.add(p.position + p.positions[t] * p.position_stride);
      },
      [&](auto& row, int64_t t) { row.load(p.dy + t * p.dy_stride); },
      [&](auto& row, int64_t t) { row.store(p.dsum + t * p.dsum_stride); });
}

}  // namespace

template <typename T>
void embed_grad(const EmbedGrad& op, Stream stream) {
  check_rows("word", op.word);
  check_rows("position", op.position);
  check_rows("token_type", op.token_type);
  check_rows("dy", op.dy);
  check_rows("dsum", op.dsum);
  check_aligned("gamma", op.gamma);
  const int64_t rows = op.dy.rows, width = op.dy.cols;
  EmbedGradParameters<T> parameters;
  parameters.grad = {rows, static_cast<int>(width), 1.0f / static_cast<float>(width), static_cast<float>(op.eps),
                     static_cast<float*>(op.scratch.data)};
  parameters.tokens = op.tokens;
  parameters.positions = op.positions;
  parameters.token_types = op.token_types;
  parameters.word = static_cast<const T*>(op.word.data);
  parameters.position = static_cast<const T*>(op.position.data);
  parameters.token_type = static_cast<const T*>(op.token_type.data);
  parameters.gamma = static_cast<const T*>(op.gamma);
  parameters.dy = static_cast<const T*>(op.dy.data);
  parameters.dsum = static_cast<float*>(op.dsum.data);
  parameters.word_stride = op.word.stride;
  parameters.position_stride = op.position.stride;
  parameters.token_type_stride = op.token_type.stride;
  parameters.dy_stride = op.dy.stride;
  parameters.dsum_stride = op.dsum.stride;
  with_row_shape("dy", width, [&](auto shape) {
    using Shape = decltype(shape);
    const auto bytes = sizeof(RowSums) + static_cast<size_t>(width) * sizeof(T);
    launch(embed_grad_kernel<T, Shape>, grad_launch_shape<Shape>(rows, bytes), stream, parameters);
  });
  add_partials(parameters.grad.partials, num_partials(rows), width, static_cast<float*>(op.dgamma),
               static_cast<float*>(op.dbeta), op.into, stream);
}

template void embed_grad<float>(const EmbedGrad&, Stream);
template void embed_grad<__half>(const EmbedGrad&, Stream);
template void embed_grad<__nv_bfloat16>(const EmbedGrad&, Stream);

}  // namespace albert_fast::cuda

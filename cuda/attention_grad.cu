// The gradient of attention, per sequence and head; D = head_dim, M the dropout mask over 1 - p, s = 1 / sqrt(D).
//
//     P  = exp(s q k^T - lse)                                dv = (P M)^T dout
//     dS = P ((dout v^T) M - delta)                          dk = s dS^T q
//     delta = rowsum(dout out)                               dq = s dS k
//
//     qkv, dqkv [T, 3 H]   q heads | k heads | v heads        out, dout [T, H]        lse, delta [T, num_heads] fp32
//
// Three kernels: delta, a warp to a token; dk and dv; dq. The last two are one text, and differ in what a block owns:
//
//     a block: kOwn = 4 warps x kRows keys (or queries) of one head of one sequence, all of its queries (or keys) in
//     tiles
//
//                others, kOthers at a time ->
//              tile 0      tile 1   ...                   D
//            +-----------+-----------+----        +----------------+
//     warp 0 |           |           |            | dk, dv (or dq) |  kRows rows each: scores, dS and sums stay in
//     warp 1 |  P, dS    |           |  x tile -> |                |  registers of one warp
//      ...   |           |           |            |                |
//            +-----------+-----------+----        +----------------+
//
// P is computed twice, 7 products in all instead of 5. With 5, one kernel over keys would add to dq from all of its
// blocks at once: atomics, whose order is another every time, and with it the bits of the result.
//
// Shared memory: own rows (k and v, or q and dout), then two stages, each a tile of others and, with own keys, lse and
// delta of these queries. While warps compute on one stage, cp.async fills the other. Own rows are read again for every
// tile: in registers they would leave none for sums at D = 128.
//
// Invariants
//   - Before a tile's barrier each thread has waited for its copies of that tile, so after it the tile is everybody's;
//     behind that barrier nobody reads the other stage any more.
//   - Rows beyond the sequence are zeros in every tile, and rows of another sequence are never read.
//   - Tiles begin at the sequence's first row and ascend, so a row's bits depend on its sequence alone.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "attention_checks.h"
#include "ops.h"
#include "primitives/attention_grad_mma.cuh"
#include "primitives/attention_grad_simt.cuh"
#include "primitives/copy_rows.cuh"
#include "primitives/number.cuh"
#include "runtime/device.h"
#include "runtime/launch.h"

namespace albert_fast::cuda {
namespace {

/// As in attention.cu.
constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;

template <typename T>
struct DeltaParameters {
  const T* out;
  const T* dout;
  float* delta;  // [T, num_heads]
  int64_t num_tokens, out_stride, dout_stride;
  int num_heads;
};

/// With 40 registers; for four blocks more the compiler would spill some.
constexpr int kDeltaBlocks = 12;

/// delta[t][h] = sum over head h of dout[t] out[t]. A warp walks over a row, a vector of 16 bytes to a lane; the lanes
/// of a head add theirs in a tree.
template <typename T, int kHeadDim>
__global__ void __launch_bounds__(kThreads, kDeltaBlocks) attention_delta_kernel(DeltaParameters<T> p) {
  constexpr int kVector = 16 / sizeof(T), kLanes = kHeadDim / kVector;
  static_assert(kLanes <= 32, "a head to a warp");
  const int lane = threadIdx.x % 32, hidden = p.num_heads * kHeadDim;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  for (int64_t t = first; t < p.num_tokens; t += static_cast<int64_t>(gridDim.x) * kWarps) {
    for (int column0 = 0; column0 < hidden; column0 += 32 * kVector) {
      const int column = column0 + lane * kVector;
      float sum = 0;
      if (column < hidden) {
        float out[kVector], dout[kVector];
        load_floats<kVector>(p.out + t * p.out_stride + column, out);
        load_floats<kVector>(p.dout + t * p.dout_stride + column, dout);
#pragma unroll
        for (int i = 0; i < kVector; ++i) sum = fmaf(out[i], dout[i], sum);
      }
#pragma unroll
      for (int lanes = kLanes / 2; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(~0u, sum, lanes);
      if (column < hidden && lane % kLanes == 0) p.delta[t * p.num_heads + column / kHeadDim] = sum;
    }
  }
}

template <typename T>
struct AttentionGradParameters {
  const T* qkv;               // [T, 3 H]
  const T* dout;              // [T, H]
  const float* lse;           // [T, num_heads]
  const float* delta;         // [T, num_heads]
  T* dqkv;                    // [T, 3 H]
  const int32_t* cu_seqlens;  // [B + 1]
  int64_t stride, dout_stride, dqkv_stride;
  unsigned num_heads;
  unsigned num_tiles;  // of own rows, in the longest sequence
  float scale;         // of scores
  DropoutMask mask;
};

template <typename T, int kHeadDim, bool kOwnKeys, bool kDropout>
struct AttentionGradShape {
  using Warp = std::conditional_t<std::is_same_v<T, float>, SimtAttentionGrad<kHeadDim, kOwnKeys, kDropout>,
                                  MmaAttentionGrad<T, kHeadDim, kOwnKeys, kDropout>>;
  static constexpr int kOwn = kWarps * Warp::kRows;
  static constexpr int kOthers = Warp::kOthers;
  static constexpr uint32_t kWarpBytes = Warp::kRows * kHeadDim * sizeof(T);
  static constexpr uint32_t kOwnBytes = kWarps * kWarpBytes;              // keys, values, queries or dout
  static constexpr uint32_t kTileBytes = kOthers * kHeadDim * sizeof(T);  // the same
  static constexpr uint32_t kStatBytes = kOwnKeys ? kOthers * sizeof(float) : 0;
  static constexpr uint32_t kStageBytes = 2 * kTileBytes;
  static constexpr uint32_t kStatsOffset = 2 * kOwnBytes + 2 * kStageBytes;  // lse and delta of stage 0, of stage 1
  static constexpr uint32_t kSharedBytes = kStatsOffset + 4 * kStatBytes;

  /// Of stage 0 or 1.
  __device__ static AttentionGradTile tile(uint32_t memory, int stage) {
    const uint32_t rows = memory + 2 * kOwnBytes + stage * kStageBytes;
    const uint32_t stats = memory + kStatsOffset + stage * 2 * kStatBytes;
    return {rows, rows + kTileBytes, stats, stats + kStatBytes};
  }
};

/// For short rows of floats the compiler, left to itself (0), makes room for five blocks and spills a register.
template <typename T, int kHeadDim>
constexpr int kResidentBlocks = std::is_same_v<T, float> && kHeadDim == 32 ? 2 : 0;

template <typename T, int kHeadDim, bool kOwnKeys, bool kDropout>
__global__ void __launch_bounds__(kThreads, kResidentBlocks<T, kHeadDim>)
    attention_grad_kernel(AttentionGradParameters<T> p) {
  using Shape = AttentionGradShape<T, kHeadDim, kOwnKeys, kDropout>;
  using Warp = typename Shape::Warp;
  extern __shared__ __align__(256) unsigned char memory[];  // rows of 16-bit tiles begin at multiples of their size
  const uint32_t shared = shared_address(memory);
  const int thread = threadIdx.x, warp = thread / 32;

  // 1. This block's sequence, head and own rows.
  const int own0 = static_cast<int>(blockIdx.x % p.num_tiles) * Shape::kOwn;
  const unsigned head = blockIdx.x / p.num_tiles % p.num_heads;
  const unsigned sequence = blockIdx.x / p.num_tiles / p.num_heads;
  const int64_t row0 = p.cu_seqlens[sequence];
  const int length = p.cu_seqlens[sequence + 1] - static_cast<int>(row0);
  if (own0 >= length) return;
  const int64_t hidden = static_cast<int64_t>(p.num_heads) * kHeadDim;
  const T* const queries = p.qkv + row0 * p.stride + head * kHeadDim;
  const T* const dout = p.dout + row0 * p.dout_stride + head * kHeadDim;
  const int64_t stats0 = row0 * p.num_heads + head;  // of the sequence's first row, in lse and delta

  const auto copy_tile = [&](int other0) {  // others from other0 on, into their stage: one group
    const AttentionGradTile tile = Shape::tile(shared, other0 / Shape::kOthers % 2);
    const int count = length - other0;
    const T* const first = kOwnKeys ? queries : queries + hidden;
    const T* const second = kOwnKeys ? dout : queries + 2 * hidden;
    const int64_t second_stride = kOwnKeys ? p.dout_stride : p.stride;
    copy_rows<kHeadDim, Shape::kOthers, kThreads>(tile.first, first + other0 * p.stride, p.stride, count, thread);
    copy_rows<kHeadDim, Shape::kOthers, kThreads>(tile.second, second + other0 * second_stride, second_stride, count,
                                                  thread);
    if (kOwnKeys && thread < Shape::kOthers) {
      const int64_t place = stats0 + static_cast<int64_t>(thread < count ? other0 + thread : 0) * p.num_heads;
      copy_async_word(tile.lse + thread * sizeof(float), p.lse + place, thread < count);
      copy_async_word(tile.delta + thread * sizeof(float), p.delta + place, thread < count);
    }
    commit_copies();
  };

  // 2. Each warp fetches its own rows, in the group of the first tile.
  const int warp_row0 = own0 + warp * Warp::kRows;
  const int num_rows = length - warp_row0;  // none or less: this warp only helps to copy
  const uint32_t first = shared + warp * Shape::kWarpBytes, second = first + Shape::kOwnBytes;
  const int64_t second_stride = kOwnKeys ? p.stride : p.dout_stride;
  copy_rows<kHeadDim, Warp::kRows, 32>(first, queries + (kOwnKeys ? hidden : 0) + warp_row0 * p.stride, p.stride,
                                       num_rows, thread % 32);
  copy_rows<kHeadDim, Warp::kRows, 32>(second, (kOwnKeys ? queries + 2 * hidden : dout) + warp_row0 * second_stride,
                                       second_stride, num_rows, thread % 32);
  copy_tile(0);
  Warp grad(first, second, p.scale);
  if constexpr (!kOwnKeys) {
    const int64_t place = stats0 + static_cast<int64_t>(warp_row0) * p.num_heads;
    grad.load_own(p.lse + place, p.delta + place, p.num_heads, num_rows);
  }

  // 3. Tiles of others.
  const AttentionDropout dropout = {p.mask, static_cast<uint64_t>(stats0) * kCountersOfQuery,
                                    p.num_heads * kCountersOfQuery};
  for (int other0 = 0; other0 < length; other0 += Shape::kOthers) {
    wait_copies<0>();
    __syncthreads();  // this tile has landed for all; the other stage is read to its end
    if (other0 + Shape::kOthers < length) copy_tile(other0 + Shape::kOthers);
    if (num_rows <= 0) continue;
    grad.add(Shape::tile(shared, other0 / Shape::kOthers % 2), length - other0,
             kOwnKeys ? dropout.from(other0, warp_row0) : dropout.from(warp_row0, other0));
  }

  // 4. Results.
  if (num_rows <= 0) return;
  T* const to = p.dqkv + (row0 + warp_row0) * p.dqkv_stride + head * kHeadDim;
  grad.store_first(to + (kOwnKeys ? hidden : 0), p.dqkv_stride, num_rows);
  if constexpr (kOwnKeys) grad.store_second(to + 2 * hidden, p.dqkv_stride, num_rows);
}

AttentionShape shape_of(const AttentionGrad& op) {
  return {op.qkv.rows, op.num_sequences, op.max_seqlen, op.num_heads, op.head_dim};
}

void check_attention_grad(const AttentionGrad& op) {
  const AttentionShape shape = shape_of(op);
  check_shape("attention_grad", shape);
  const int64_t hidden = op.num_heads * op.head_dim;
  check_matrix("attention_grad", "qkv", op.qkv, shape.num_tokens, 3 * hidden);
  check_matrix("attention_grad", "out", op.out, shape.num_tokens, hidden);
  check_matrix("attention_grad", "dout", op.dout, shape.num_tokens, hidden);
  check_matrix("attention_grad", "dqkv", op.dqkv, shape.num_tokens, 3 * hidden);
  check_dropout("attention_grad", op.dropout, op.max_seqlen);
}

template <typename T, int kHeadDim, bool kOwnKeys, bool kDropout>
void launch_grad(const AttentionGrad& op, AttentionGradParameters<T> p, Stream stream) {
  using Shape = AttentionGradShape<T, kHeadDim, kOwnKeys, kDropout>;
  const int64_t num_tiles = tiles_of(shape_of(op), Shape::kOwn);
  p.num_tiles = static_cast<unsigned>(num_tiles);
  const unsigned num_blocks = blocks_of("attention_grad", shape_of(op), num_tiles);
  launch(attention_grad_kernel<T, kHeadDim, kOwnKeys, kDropout>,
         {dim3(num_blocks), dim3(kThreads), Shape::kSharedBytes}, stream, p);
}

template <typename T, int kHeadDim>
void launch_all(const AttentionGrad& op, Stream stream) {
  auto* const delta = static_cast<float*>(op.scratch.data);
  constexpr int64_t kBlocksPerMultiprocessor = 2048 / kThreads;  // threads of one
  const int64_t blocks = std::min<int64_t>((op.qkv.rows + kWarps - 1) / kWarps,
                                           kBlocksPerMultiprocessor * device_limits().multiprocessors);
  launch(attention_delta_kernel<T, kHeadDim>, {dim3(static_cast<unsigned>(blocks)), dim3(kThreads)}, stream,
         DeltaParameters<T>{static_cast<const T*>(op.out.data), static_cast<const T*>(op.dout.data), delta, op.qkv.rows,
                            op.out.stride, op.dout.stride, static_cast<int>(op.num_heads)});

  AttentionGradParameters<T> p{};
  p.qkv = static_cast<const T*>(op.qkv.data);
  p.dout = static_cast<const T*>(op.dout.data);
  p.lse = static_cast<const float*>(op.lse);
  p.delta = delta;
  p.dqkv = static_cast<T*>(op.dqkv.data);
  p.cu_seqlens = op.cu_seqlens;
  p.stride = op.qkv.stride;
  p.dout_stride = op.dout.stride;
  p.dqkv_stride = op.dqkv.stride;
  p.num_heads = static_cast<unsigned>(op.num_heads);
  p.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(kHeadDim)));
  p.mask = mask_of(op.dropout);
  if (op.dropout.p > 0) {
    launch_grad<T, kHeadDim, true, true>(op, p, stream);
    launch_grad<T, kHeadDim, false, true>(op, p, stream);
  } else {
    launch_grad<T, kHeadDim, true, false>(op, p, stream);
    launch_grad<T, kHeadDim, false, false>(op, p, stream);
  }
}

}  // namespace

size_t attention_grad_scratch(int64_t num_tokens, int64_t, int64_t num_heads, int64_t, Stream) {
  return static_cast<size_t>(num_tokens * num_heads) * sizeof(float);
}

template <typename T>
void attention_grad(const AttentionGrad& op, Stream stream) {
  check_attention_grad(op);
  if (op.qkv.rows == 0) return;
  if (op.head_dim == 32) return launch_all<T, 32>(op, stream);
  if (op.head_dim == 64) return launch_all<T, 64>(op, stream);
  launch_all<T, 128>(op, stream);
}

template void attention_grad<float>(const AttentionGrad&, Stream);
template void attention_grad<__half>(const AttentionGrad&, Stream);
template void attention_grad<__nv_bfloat16>(const AttentionGrad&, Stream);

}  // namespace albert_fast::cuda

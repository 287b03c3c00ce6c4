// out = softmax(q k^T / sqrt(D)) v per sequence and head; D = head_dim, S = the sequence's length.
//
//     qkv [T, 3 H]   q heads | k heads | v heads        out [T, H]
//
//     one block: one head of one sequence, kQueries of its queries, all of its keys in tiles
//
//              keys of the sequence, kKeys at a time ->
//              tile 0      tile 1      tile 2 ...                   D
//            +-----------+-----------+----              +----------------+
//     warp 0 |           |           |                  | out            |  kRows rows each: scores, running
//     warp 1 |  scores -> p          |         x v  ->  |                |  maximum, sum and out of a row stay
//     warp 2 |           |           |                  |                |  in registers of one warp
//     warp 3 |           |           |                  |                |
//            +-----------+-----------+----              +----------------+
//
// Shared memory: two stages, each a tile of keys and one of values, [kKeys][D], swizzled (tile.cuh); while warps
// compute on one stage, cp.async fills the other. Queries and results pass through the stage that is empty at the time.
//
// Invariants
//   - Before a tile's barrier each thread has waited for its copies of that tile, so after it the tile is everybody's.
//   - Behind that barrier nobody reads the other stage any more: the next tile may be copied there.
//   - Rows beyond the sequence are zeros in every tile, their scores -infinity: p = 0, and 0 x 0 adds nothing. Rows of
//     another sequence are never read.
//   - Tiles begin at the sequence's first row and ascend, so a row's bits depend on its sequence alone.
//
// For training: log(sum(exp(scores))) of each row, if asked for; dropout of p, after it has been summed, in a kernel of
// its own (primitives/attention_dropout.cuh).
#include <cmath>
#include <type_traits>

#include "attention_checks.h"
#include "ops.h"
#include "primitives/attention_mma.cuh"
#include "primitives/attention_simt.cuh"
#include "primitives/copy_rows.cuh"
#include "runtime/launch.h"

namespace albert_fast::cuda {
namespace {

/// Four warps share each tile of keys. With 16 rows each, 64 queries read a tile once from L2, and of a short sequence,
/// which ALBERT mostly sees, few rows stay empty.
constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;

template <typename T>
struct AttentionParameters {
  const T* qkv;               // [T, 3 H]
  int64_t stride;             // of qkv
  const int32_t* cu_seqlens;  // [B + 1]
  T* out;                     // [T, H]
  int64_t out_stride;
  unsigned num_heads;
  unsigned num_tiles;  // of queries, in the longest sequence
  float scale;         // of scores
  float* lse;          // [T, num_heads] or null
  DropoutMask mask;
};

template <typename T, int kHeadDim, bool kDropout>
struct AttentionTile {
  using Warp = std::conditional_t<std::is_same_v<T, float>, SimtAttention<kHeadDim, kDropout>,
                                  MmaAttention<T, kHeadDim, kDropout>>;
  static constexpr int kQueries = kWarps * Warp::kRows;
  static constexpr int kKeys = Warp::kKeys;
  static constexpr uint32_t kWarpBytes = Warp::kRows * kHeadDim * sizeof(T);  // its queries, or its results
  static constexpr uint32_t kTileBytes = kKeys * kHeadDim * sizeof(T);        // keys, or values
  static constexpr uint32_t kStageBytes = 2 * kTileBytes;
  /// Queries that go to registers at once pass through stage 1, which is empty until the first barrier.
  static constexpr uint32_t kQueryOffset = Warp::kQueriesInRegisters ? kStageBytes : 2 * kStageBytes;
  static constexpr uint32_t kSharedBytes = 2 * kStageBytes + (Warp::kQueriesInRegisters ? 0 : kWarps * kWarpBytes);
  static_assert(kQueries <= 2 * kKeys, "queries and results fit in a stage");
};

template <typename T, int kHeadDim, bool kDropout>
__device__ void attend(const AttentionParameters<T>& p) {
  using Tile = AttentionTile<T, kHeadDim, kDropout>;
  using Warp = typename Tile::Warp;
  extern __shared__ __align__(256) unsigned char memory[];  // rows of 16-bit tiles begin at multiples of their size
  const uint32_t stages = shared_address(memory);
  const int thread = threadIdx.x, warp = thread / 32;

  // 1. This block's sequence, head and queries; tiles of one head are neighbours, so that they share its keys in L2.
  const int query0 = static_cast<int>(blockIdx.x % p.num_tiles) * Tile::kQueries;
  const unsigned head = blockIdx.x / p.num_tiles % p.num_heads;
  const unsigned sequence = blockIdx.x / p.num_tiles / p.num_heads;
  const int64_t row0 = p.cu_seqlens[sequence];
  const int length = p.cu_seqlens[sequence + 1] - static_cast<int>(row0);
  if (query0 >= length) return;
  const int64_t hidden = static_cast<int64_t>(p.num_heads) * kHeadDim;
  const T* queries = p.qkv + row0 * p.stride + head * kHeadDim;
  const T* keys = queries + hidden;

  const auto stage_of = [&](int key0) { return stages + key0 / Tile::kKeys % 2 * Tile::kStageBytes; };
  const auto copy_tile = [&](int key0) {  // keys and values from key0 on, into their stage: one group
    const T* from = keys + key0 * p.stride;
    copy_rows<kHeadDim, Tile::kKeys, kThreads>(stage_of(key0), from, p.stride, length - key0, thread);
    copy_rows<kHeadDim, Tile::kKeys, kThreads>(stage_of(key0) + Tile::kTileBytes, from + hidden, p.stride,
                                               length - key0, thread);
    commit_copies();
  };

  // 2. Each warp fetches its own queries, and needs no other warp's.
  const int warp_row0 = query0 + warp * Warp::kRows;
  const int num_rows = length - warp_row0;  // none or less: this warp only helps to copy
  const uint32_t warp_queries = stages + Tile::kQueryOffset + warp * Tile::kWarpBytes;
  copy_rows<kHeadDim, Warp::kRows, 32>(warp_queries, queries + warp_row0 * p.stride, p.stride, num_rows, thread % 32);
  if constexpr (Warp::kQueriesInRegisters) commit_copies();  // else they are of the first tile's group
  copy_tile(0);
  if constexpr (Warp::kQueriesInRegisters) {
    wait_copies<1>();
    __syncwarp();
  }
  Warp attention(warp_queries, p.scale);

  // 3. Tiles of keys.
  const int64_t row_of_lse = (row0 + warp_row0) * p.num_heads + head;
  const AttentionDropout dropout = {p.mask, static_cast<uint64_t>(row_of_lse) * kCountersOfQuery,
                                    p.num_heads * kCountersOfQuery};
  int key0 = 0;
  for (; key0 < length; key0 += Tile::kKeys) {
    wait_copies<0>();
    __syncthreads();  // this tile has landed for all; the other stage is read to its end
    if (key0 + Tile::kKeys < length) copy_tile(key0 + Tile::kKeys);
    if (num_rows > 0) {
      attention.add_keys(stage_of(key0), stage_of(key0) + Tile::kTileBytes, length - key0, dropout.from(0, key0));
    }
  }

  // 4. Results, through the stage of the tile that never came.
  T* out = p.out + (row0 + warp_row0) * p.out_stride + head * kHeadDim;
  float* lse = p.lse == nullptr ? nullptr : p.lse + row_of_lse;
  if (num_rows > 0) {
    attention.store(stage_of(key0) + warp * Tile::kWarpBytes, out, p.out_stride, num_rows, lse, p.num_heads);
  }
}

/// What the compiler, left to itself (0), makes room for on some target is a block more, and it spills a register or
/// two for it: of these kernels it is asked for one less.
template <typename T, int kHeadDim, bool kDropout>
constexpr int kResidentBlocks = [] {
  if (!std::is_same_v<T, float>) return kHeadDim == 64 && !kDropout ? 3 : 0;
  if (!kDropout) return 0;
  return kHeadDim == 32 ? 3 : kHeadDim == 64 ? 2 : 1;
}();

template <typename T, int kHeadDim>
__global__ void __launch_bounds__(kThreads, kResidentBlocks<T, kHeadDim, false>)
    attention_kernel(AttentionParameters<T> p) {
  attend<T, kHeadDim, false>(p);
}

/// A kernel of its own, so that the one without dropout has none of its registers.
template <typename T, int kHeadDim>
__global__ void __launch_bounds__(kThreads, kResidentBlocks<T, kHeadDim, true>)
    attention_dropout_kernel(AttentionParameters<T> p) {
  attend<T, kHeadDim, true>(p);
}

void check_attention(const Attention& op) {
  const AttentionShape shape = {op.qkv.rows, op.num_sequences, op.max_seqlen, op.num_heads, op.head_dim};
  check_shape("attention", shape);
  const int64_t hidden = op.num_heads * op.head_dim;
  check_matrix("attention", "qkv", op.qkv, shape.num_tokens, 3 * hidden);
  check_matrix("attention", "out", op.out, shape.num_tokens, hidden);
  check_dropout("attention", op.dropout, op.max_seqlen);
}

template <typename T, int kHeadDim, bool kDropout>
void launch_attention(const Attention& op, Stream stream) {
  using Tile = AttentionTile<T, kHeadDim, kDropout>;
  const AttentionShape sizes = {op.qkv.rows, op.num_sequences, op.max_seqlen, op.num_heads, op.head_dim};
  const int64_t num_tiles = tiles_of(sizes, Tile::kQueries);
  AttentionParameters<T> p{};
  p.qkv = static_cast<const T*>(op.qkv.data);
  p.stride = op.qkv.stride;
  p.cu_seqlens = op.cu_seqlens;
  p.out = static_cast<T*>(op.out.data);
  p.out_stride = op.out.stride;
  p.num_heads = static_cast<unsigned>(op.num_heads);
  p.num_tiles = static_cast<unsigned>(num_tiles);
  p.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(kHeadDim)));
  p.lse = static_cast<float*>(op.lse);
  p.mask = mask_of(op.dropout);
  const LaunchShape shape{dim3(blocks_of("attention", sizes, num_tiles)), dim3(kThreads), Tile::kSharedBytes};
  launch(kDropout ? attention_dropout_kernel<T, kHeadDim> : attention_kernel<T, kHeadDim>, shape, stream, p);
}

template <typename T, bool kDropout>
void launch_head_dim(const Attention& op, Stream stream) {
  if (op.head_dim == 32) return launch_attention<T, 32, kDropout>(op, stream);
  if (op.head_dim == 64) return launch_attention<T, 64, kDropout>(op, stream);
  launch_attention<T, 128, kDropout>(op, stream);
}

}  // namespace

bool takes_head_dim(int64_t head_dim) { return head_dim == 32 || head_dim == 64 || head_dim == 128; }

template <typename T>
void attention(const Attention& op, Stream stream) {
  check_attention(op);
  if (op.qkv.rows == 0) return;
  if (op.dropout.p > 0) return launch_head_dim<T, true>(op, stream);
  launch_head_dim<T, false>(op, stream);
}

template void attention<float>(const Attention&, Stream);
template void attention<__half>(const Attention&, Stream);
template void attention<__nv_bfloat16>(const Attention&, Stream);

}  // namespace albert_fast::cuda

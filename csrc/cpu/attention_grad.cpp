// The gradient of attention, per sequence and head; D = head_dim, S = the sequence's length, M the dropout mask.
//
//     P  = exp(q k^T / sqrt(D) - lse)                  dv  = (P M)^T dout
//     dP = (dout v^T) M                                dk  = dS^T (q / sqrt(D))
//     dS = P (dP - rowsum(dout out))                   dq  = dS k / sqrt(D)
//
// One task is one head of one sequence. It packs k^T and v^T into panels over keys and k into panels over D once, then
// walks the queries in blocks of kQueries:
//
//                     keys ->                            D
//     queries  [P M  kQueries x S]   tiles of rows: -> dq [kQueries x D] = dS k
//              [dS   kQueries x S]   tiles of columns: -> dk, dv [S x D] += dS^T q, (P M)^T dout
//
// dk and dv stay in scratch until the last block. All sums are in ascending order of keys or queries, from the
// sequence's own first row on: a result depends on its sequence alone.
#include "cpu/primitives/math.h"
#include "cpu/primitives/philox.h"
#include "cpu/primitives/scores.h"
#include "cpu/runtime/executor.h"
#include "cpu/variant.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {
namespace {

/// Queries that dk and dv are raised by at a time: the longer, the less often [S x D] sums are loaded and stored; P M
/// and dS of 512 keys are then 96 KB each. A multiple of both kTileRows.
constexpr int64_t kQueries = 48;
static_assert(kQueries % kTileRows == 0);

/// One worker's scratch, for sequences of up to S and heads of D.
struct GradBuffers {
  real* keys;             // [S / kPanel][D][kPanel], k^T
  real* values;           // [S / kPanel][D][kPanel], v^T
  real* key_rows;         // [D / kPanel][S][kPanel], k
  real* tile;             // [D or kQueries][kTileRows]
  real* queries;          // [D / kPanel][kQueries][kPanel], q / sqrt(D)
  real* grads;            // [D / kPanel][kQueries][kPanel], dout
  real* p;                // [kQueries][S rounded up to kPanel]: scores, then P M
  real* ds;               // [kQueries][S rounded up to kPanel]: dout v^T, then dS
  real* dq;               // [kTileRows][D rounded up to kPanel]
  real *dkeys, *dvalues;  // [S][D rounded up to kPanel]

  GradBuffers(real* base, int64_t s, int64_t d) {
    const int64_t padded_s = round_up(s, kPanel), padded_d = round_up(d, kPanel);
    keys = base;
    values = keys + padded_s * d;
    key_rows = values + padded_s * d;
    tile = key_rows + padded_d * s;
    queries = tile + kTileRows * (d > kQueries ? d : kQueries);
    grads = queries + padded_d * kQueries;
    p = grads + padded_d * kQueries;
    ds = p + kQueries * padded_s;
    dq = ds + kQueries * padded_s;
    dkeys = dq + kTileRows * padded_d;
    dvalues = dkeys + s * padded_d;
  }
  static int64_t size(int64_t s, int64_t d) {
    const int64_t padded_s = round_up(s, kPanel), padded_d = round_up(d, kPanel);
    return 2 * padded_s * d + 3 * padded_d * s + kTileRows * ((d > kQueries ? d : kQueries) + padded_d) +
           2 * kQueries * (padded_d + padded_s);
  }
};

/// One head of one sequence; all point at its first row, `stride` (qkv, dqkv) or `out_stride` (out, dout) apart.
struct GradHead {
  const real *q, *k, *v;
  int64_t stride;
  const real *out, *dout;
  int64_t out_stride, dout_stride;
  real *dq, *dk, *dv;
  int64_t dstride;
  const real* lse;  // num_heads apart
  int64_t num_heads;
  uint64_t first_number;  // of the dropout's stream, for the first row and key
  Dropout dropout;
  int64_t s, d;
  real scale;

  uint64_t number(int64_t query) const { return first_number + (uint64_t(query * num_heads) << 16); }
};

void pack_head(const GradHead& head, const GradBuffers& to) {
  const int64_t s = head.s, d = head.d;
  for (int64_t key = 0; key < s; key += kPanel) {
    const int cols = static_cast<int>(min(kPanel, s - key));
    pack_panel_transposed(head.k + key * head.stride, head.stride, cols, d, to.keys + key * d);
    pack_panel_transposed(head.v + key * head.stride, head.stride, cols, d, to.values + key * d);
  }
  pack_panels(head.k, head.stride, d, s, to.key_rows);
  const int64_t sums = s * round_up(d, kPanel);
  for (int64_t j = 0; j < sums; ++j) to.dkeys[j] = to.dvalues[j] = 0;
}

/// Row `query`: its scores to P M and its dout v^T to dS.
void differentiate_row(const GradHead& head, int64_t query, real* p, real* ds) {
  const real* out = head.out + query * head.out_stride;
  const real* dout = head.dout + query * head.dout_stride;
  real delta = 0;
  for (int64_t j = 0; j < head.d; ++j) delta += out[j] * dout[j];
  const vec lse = broadcast(head.lse[query * head.num_heads]), shift = broadcast(delta);
  for (int64_t j = 0; j < head.s; j += kLanes) {
    const vec weight = exp(load(p + j) - lse);
    const vec mask = head.dropout.p > 0 ? dropout_mask(head.dropout, head.number(query) + uint64_t(j)) : broadcast(1);
    store(ds + j, weight * (load(ds + j) * mask - shift));
    store(p + j, weight * mask);
  }
}

/// dq of rows [query0, query0 + rows), whose dS is at `ds`.
void finish_queries(const GradHead& head, const GradBuffers& buffers, int64_t query0, int rows, const real* ds,
                    int64_t stride) {
  const int64_t padded_d = round_up(head.d, kPanel);
  for (int64_t key0 = 0; key0 < head.s; key0 += kQueries) {
    const int64_t keys = min(kQueries, head.s - key0);
    pack_tile(ds + key0, stride, rows, keys, buffers.tile);
    for (int64_t j = 0; j < head.d; j += kPanel) {
      multiply_tile(rows, buffers.tile, buffers.key_rows + j * head.s + key0 * kPanel, keys, buffers.dq + j, padded_d,
                    key0 == 0 ? Into::kOverwrite : Into::kAdd);
    }
  }
  for (int i = 0; i < rows; ++i) {
    real* out = head.dq + (query0 + i) * head.dstride;
    for (int64_t j = 0; j < head.d; ++j) out[j] = buffers.dq[i * padded_d + j] * head.scale;
  }
}

/// sums[S][D] += weights[queries][S]^T b, `b` being panels over D of depth kQueries.
void add_to_keys(const GradHead& head, const real* weights, int64_t stride, int64_t queries, const real* b, real* tile,
                 real* sums) {
  const int64_t padded_d = round_up(head.d, kPanel);
  for (int64_t key = 0; key < head.s; key += kTileRows) {
    const int rows = static_cast<int>(min(kTileRows, head.s - key));
    pack_tile_transposed(weights + key, stride, rows, queries, tile);
    for (int64_t j = 0; j < head.d; j += kPanel) {
      multiply_tile(rows, tile, b + j * queries, queries, sums + key * padded_d + j, padded_d, Into::kAdd);
    }
  }
}

/// Queries [query0, query0 + queries): their dq, and what they add to dk and dv.
void differentiate_block(const GradHead& head, const GradBuffers& buffers, int64_t query0, int64_t queries) {
  const int64_t stride = round_up(head.s, kPanel), padded_d = round_up(head.d, kPanel);
  const real* q = head.q + query0 * head.stride;
  const real* dout = head.dout + query0 * head.dout_stride;
  pack_panels(q, head.stride, head.d, queries, buffers.queries);
  for (int64_t j = 0; j < padded_d * queries; ++j) buffers.queries[j] *= head.scale;
  pack_panels(dout, head.dout_stride, head.d, queries, buffers.grads);

  for (int64_t i = 0; i < queries; i += kTileRows) {
    const int rows = static_cast<int>(min(kTileRows, queries - i));
    real *p = buffers.p + i * stride, *ds = buffers.ds + i * stride;
    pack_tile(q + i * head.stride, head.stride, rows, head.d, buffers.tile);
    for (int64_t j = 0; j < head.d * kTileRows; ++j) buffers.tile[j] *= head.scale;
    multiply_by_keys(rows, buffers.tile, buffers.keys, head.d, head.s, p, stride);
    pack_tile(dout + i * head.dout_stride, head.dout_stride, rows, head.d, buffers.tile);
    multiply_by_keys(rows, buffers.tile, buffers.values, head.d, head.s, ds, stride);
    for (int r = 0; r < rows; ++r) differentiate_row(head, query0 + i + r, p + r * stride, ds + r * stride);
    finish_queries(head, buffers, query0 + i, rows, ds, stride);
  }
  add_to_keys(head, buffers.ds, stride, queries, buffers.queries, buffers.tile, buffers.dkeys);
  add_to_keys(head, buffers.p, stride, queries, buffers.grads, buffers.tile, buffers.dvalues);
}

GradHead head_of(const AttentionGrad& op, int64_t sequence, int64_t head) {
  const int64_t hidden = op.num_heads * op.head_dim, column = head * op.head_dim, row0 = op.cu_seqlens[sequence];
  const real* qkv = op.qkv.row<real>(row0) + column;
  real* dqkv = op.dqkv.row<real>(row0) + column;
  GradHead h;
  h.q = qkv, h.k = qkv + hidden, h.v = qkv + 2 * hidden;
  h.stride = op.qkv.stride;
  h.out = op.out.row<real>(row0) + column, h.out_stride = op.out.stride;
  h.dout = op.dout.row<real>(row0) + column, h.dout_stride = op.dout.stride;
  h.dq = dqkv, h.dk = dqkv + hidden, h.dv = dqkv + 2 * hidden;
  h.dstride = op.dqkv.stride;
  h.lse = static_cast<const real*>(op.lse) + row0 * op.num_heads + head;
  h.num_heads = op.num_heads;
  h.first_number = uint64_t(row0 * op.num_heads + head) << 16;
  h.dropout = op.dropout;
  h.s = op.cu_seqlens[sequence + 1] - row0;
  h.d = op.head_dim;
  h.scale = 1 / real(__builtin_sqrt(double(op.head_dim)));
  return h;
}

}  // namespace

size_t attention_grad_scratch(int64_t, int64_t max_seqlen, int64_t, int64_t head_dim, Stream stream) {
  const auto& executor = *static_cast<const Executor*>(stream.handle);
  return executor.num_threads() * round_up(GradBuffers::size(max_seqlen, head_dim), kLanes) * sizeof(real);
}

void attention_grad(const AttentionGrad& op, Stream stream) {
  Executor& executor = *static_cast<Executor*>(stream.handle);
  const int64_t worker_size = op.scratch.bytes / sizeof(real) / executor.num_threads();
  executor.parallel_for(op.num_sequences * op.num_heads, [&](int64_t task, int worker) {
    const GradHead head = head_of(op, task / op.num_heads, task % op.num_heads);
    const GradBuffers buffers(static_cast<real*>(op.scratch.data) + worker * worker_size, head.s, head.d);
    pack_head(head, buffers);
    for (int64_t i = 0; i < head.s; i += kQueries) {
      differentiate_block(head, buffers, i, min(kQueries, head.s - i));
    }
    const int64_t padded_d = round_up(head.d, kPanel);
    for (int64_t i = 0; i < head.s; ++i) {
      add_row(buffers.dkeys + i * padded_d, nullptr, head.d, head.dk + i * head.dstride);
      add_row(buffers.dvalues + i * padded_d, nullptr, head.d, head.dv + i * head.dstride);
    }
  });
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

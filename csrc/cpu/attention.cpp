// out = softmax(q k^T / sqrt(D)) v per sequence and head, D = head_dim, S = the sequence's length.
//
//            keys, kKeyBlock at a time  ->
//   q tile   [scores: kTileRows x kKeyBlock] -> p -> out tile [kTileRows x D] += p v
//
// One task is one head of one sequence. It packs that head's k^T into panels [D][kPanel] over keys and v into panels
// [S][kPanel] over D once, then walks the queries in tiles. Between blocks of keys each row keeps its maximum m, its
// sum l = sum exp(score - m) and its out row, scaled to that m; when a block raises m, l and the out row are scaled
// down by exp(m_old - m_new). Tiles and blocks start at the sequence's own first row, so a row's result depends on
// its sequence alone.
#include "cpu/primitives/block.h"
#include "cpu/primitives/math.h"
#include "cpu/primitives/philox.h"
#include "cpu/primitives/scores.h"
#include "cpu/runtime/executor.h"
#include "cpu/variant.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {
namespace {

/// Keys between two looks at the maximum: long enough to pay for scaling the out row (D numbers per kKeyBlock x D
/// multiply-adds), short enough that scores and p of a tile stay in L1. A multiple of every kPanel.
constexpr int64_t kKeyBlock = 64;
static_assert(kKeyBlock % kPanel == 0);

/// One worker's scratch, for sequences of up to S and heads of D.
struct Buffers {
  real* keys;    // [S / kPanel][D][kPanel]
  real* values;  // [D / kPanel][S][kPanel]
  real* query;   // [D][kTileRows], scaled by 1 / sqrt(D)
  real* scores;  // [kTileRows][kKeyBlock]
  real* p;       // [kKeyBlock][kTileRows]
  real* out;     // [kTileRows][D rounded up to kPanel]

  static int64_t size(int64_t s, int64_t d) {
    return round_up(s, kPanel) * d + round_up(d, kPanel) * s + d * kTileRows + 2 * kTileRows * kKeyBlock +
           kTileRows * round_up(d, kPanel);
  }

  Buffers(real* base, int64_t s, int64_t d)
      : keys(base),
        values(keys + round_up(s, kPanel) * d),
        query(values + round_up(d, kPanel) * s),
        scores(query + d * kTileRows),
        p(scores + kTileRows * kKeyBlock),
        out(p + kTileRows * kKeyBlock) {}
};

/// One head of one sequence; q, k, v and out point at its first row, `stride` and `out_stride` apart.
struct Head {
  const real* q;
  const real* k;
  const real* v;
  int64_t stride;
  real* out;
  int64_t out_stride;
  int64_t s;
  int64_t d;
  real* lse;  // num_heads apart, or null
  int64_t num_heads;
  Dropout dropout;
  uint64_t first_number;  // of its stream, for the first query and key

  uint64_t number(int64_t query) const { return first_number + (uint64_t(query * num_heads) << 16); }
};

void pack_keys_and_values(const Head& head, const Buffers& buffers) {
  for (int64_t key = 0; key < head.s; key += kPanel) {
    const int cols = static_cast<int>(min(kPanel, head.s - key));
    pack_panel_transposed(head.k + key * head.stride, head.stride, cols, head.d, buffers.keys + key * head.d);
  }
  for (int64_t j = 0; j < head.d; j += kPanel) {
    const int cols = static_cast<int>(min(kPanel, head.d - j));
    pack_panel(head.v + j, head.stride, cols, head.s, buffers.values + j * head.s);
  }
}

/// scores[rows][kKeyBlock] of the keys [key0, key0 + keys); -inf behind them, so that their p is zero.
void score_block(const Head& head, const Buffers& buffers, int rows, int64_t key0, int64_t keys) {
  multiply_by_keys(rows, buffers.query, buffers.keys + key0 * head.d, head.d, keys, buffers.scores, kKeyBlock);
  for (int i = 0; i < rows; ++i) {
    for (int64_t j = keys; j < kKeyBlock; ++j) buffers.scores[i * kKeyBlock + j] = -__builtin_inff();
  }
}

/// Row i of scores -> row i of p; updates the row's maximum and sum and scales its out row to the new maximum.
/// `number` is that of its first key in the dropout's stream: what dropout takes away from p stays in the sum.
void softmax_row(const Buffers& buffers, int i, int64_t out_cols, const Dropout& dropout, uint64_t number,
                 real& maximum, real& total) {
  const real* scores = buffers.scores + i * kKeyBlock;
  vec top = load(scores);
  for (int64_t j = kLanes; j < kKeyBlock; j += kLanes) top = max(top, load(scores + j));
  const real block_max = max(top);
  const real new_max = block_max > maximum ? block_max : maximum;

  vec block_sum = {};
  for (int64_t j = 0; j < kKeyBlock; j += kLanes) {
    vec p = exp(load(scores + j) - broadcast(new_max));
    block_sum += p;
    if (dropout.p > 0) p *= dropout_mask(dropout, number + uint64_t(j));
    for (int lane = 0; lane < kLanes; ++lane) buffers.p[(j + lane) * kTileRows + i] = p[lane];
  }
  const vec correction = exp(broadcast(maximum - new_max));
  real* out = buffers.out + i * out_cols;
  for (int64_t j = 0; j < out_cols; j += kLanes) store(out + j, load(out + j) * correction);
  total = total * correction[0] + sum(block_sum);
  maximum = new_max;
}

/// Queries [query0, query0 + rows) of the head, from packed k and v to finished rows of out.
void attend_tile(const Head& head, const Buffers& buffers, int64_t query0, int rows) {
  const int64_t out_cols = round_up(head.d, kPanel);
  const real scale = 1 / real(__builtin_sqrt(double(head.d)));
  pack_tile(head.q + query0 * head.stride, head.stride, rows, head.d, buffers.query);
  for (int64_t k = 0; k < head.d * kTileRows; ++k) buffers.query[k] *= scale;
  for (int64_t j = 0; j < rows * out_cols; ++j) buffers.out[j] = 0;

  real maximum[kTileRows], total[kTileRows];
  for (int i = 0; i < rows; ++i) maximum[i] = -__builtin_inff(), total[i] = 0;

  for (int64_t key0 = 0; key0 < head.s; key0 += kKeyBlock) {
    const int64_t keys = min(kKeyBlock, head.s - key0);
    score_block(head, buffers, rows, key0, keys);
    for (int i = 0; i < rows; ++i) {
      softmax_row(buffers, i, out_cols, head.dropout, head.number(query0 + i) + uint64_t(key0), maximum[i], total[i]);
    }
    for (int64_t j = 0; j < out_cols; j += kPanel) {
      multiply_tile(rows, buffers.p, buffers.values + j * head.s + key0 * kPanel, keys, buffers.out + j, out_cols,
                    Into::kAdd);
    }
  }
  for (int i = 0; i < rows; ++i) {
    real* out = head.out + (query0 + i) * head.out_stride;
    for (int64_t j = 0; j < head.d; ++j) out[j] = buffers.out[i * out_cols + j] / total[i];
    if (head.lse) head.lse[(query0 + i) * head.num_heads] = maximum[i] + real(__builtin_log(double(total[i])));
  }
}

}  // namespace

size_t attention_scratch(int64_t max_seqlen, int64_t head_dim, Stream stream) {
  const auto& executor = *static_cast<const Executor*>(stream.handle);
  return executor.num_threads() * round_up(Buffers::size(max_seqlen, head_dim), kLanes) * sizeof(real);
}

void attention(const Attention& op, Stream stream) {
  Executor& executor = *static_cast<Executor*>(stream.handle);
  const int64_t hidden = op.num_heads * op.head_dim;
  const int64_t worker_size = op.scratch.bytes / sizeof(real) / executor.num_threads();

  executor.parallel_for(op.num_sequences * op.num_heads, [&](int64_t task, int worker) {
    const int64_t sequence = task / op.num_heads, column = task % op.num_heads * op.head_dim;
    const int64_t row0 = op.cu_seqlens[sequence], s = op.cu_seqlens[sequence + 1] - row0;
    const real* qkv = op.qkv.row<real>(row0) + column;
    const int64_t row_and_head = row0 * op.num_heads + task % op.num_heads;
    Head head = {
        qkv,         qkv + hidden, qkv + 2 * hidden, op.qkv.stride, op.out.row<real>(row0) + column, op.out.stride, s,
        op.head_dim, nullptr,      op.num_heads,     op.dropout,    uint64_t(row_and_head) << 16};
    if (op.lse != nullptr) head.lse = static_cast<real*>(op.lse) + row_and_head;
    const Buffers buffers(static_cast<real*>(op.scratch.data) + worker * worker_size, s, op.head_dim);
    pack_keys_and_values(head, buffers);
    for (int64_t i = 0; i < s; i += kTileRows) {
      attend_tile(head, buffers, i, static_cast<int>(min(kTileRows, s - i)));
    }
  });
}

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

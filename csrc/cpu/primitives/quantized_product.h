// The product of one register tile in integers: the loops of primitives/tile.h over words of 32 bits, Q::kPerWord
// numbers each, with Q one of Int16 and Int8.
//
//     tile of x    [group]{ header [Q::kHeader][kRows],  words [kQuantGroup / Q::kPerWord][kRows] }
//     panel of W   [group]{ header [Q::kHeader][kPanel], words [kQuantGroup / Q::kPerWord][kPanel] }
//
// Within a group products are summed exactly, in int32; then c += float(sum) * scale_x * scale_w. The header's first
// row is the scales. Its second, of Int8 alone, is the zeros of x and -sum q of W: their product is what a sum starts
// from, since sum (q_x - zero) q_w = sum q_x q_w - zero sum q_w.
#pragma once

#include "cpu/primitives/quantize.h"
#include "cpu/primitives/tile.h"

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

static_assert(kDepthBlock % kQuantGroup == 0, "a block of k has whole groups");

/// Rows of a tile: 4 x 2 accumulators, 2 vectors of W, 1 of x, 1 product and, for Int8, a vector of ones are 13 of 16
/// registers; 6 x 2 spills.
#ifdef ALBERT_FAST_32_REGISTERS
inline constexpr int kQuantizedRows = 8;
#else
inline constexpr int kQuantizedRows = 4;
#endif

/// Words of `depth` numbers, in groups, of a tile or panel of `width` rows or columns.
template <typename Q>
inline int64_t quantized_words(int64_t depth, int64_t width) {
  return (ceil_div(depth, kQuantGroup) * Q::kHeader + ceil_div(depth, Q::kPerWord)) * width;
}

/// Row `i` of a tile or panel of `width`, from x[0 .. depth), by Q's functions for x or for W.
template <typename Q>
inline void quantize_row(const float* x, int64_t depth, int32_t* words, int64_t width, int64_t i,
                         void (*quantize)(const float*, int64_t, Levels&)) {
  for (int64_t k0 = 0; k0 < depth; k0 += kQuantGroup) {
    const int64_t in_group = min(kQuantGroup, depth - k0);
    Levels group;
    quantize(x + k0, in_group, group);
    __builtin_memcpy(words + i, &group.scale, sizeof(group.scale));
    if constexpr (Q::kHeader == 2) words[width + i] = group.second;
    words += Q::kHeader * width;
    for (int64_t k = 0; k < in_group; k += Q::kPerWord, words += width) words[i] = Q::word(group.q + k);
  }
}

/// The way back of a row of W, to within half a scale.
template <typename Q>
inline void dequantize_row(const int32_t* words, int64_t width, int64_t i, int64_t depth, float* x) {
  for (int64_t k = 0; k < depth; ++k) {
    const int64_t in_group = k % kQuantGroup;
    const int32_t* group = words + quantized_words<Q>(k - in_group, width);
    float scale;
    __builtin_memcpy(&scale, group + i, sizeof(scale));
    const int32_t word = group[(Q::kHeader + in_group / Q::kPerWord) * width + i];
    x[k] = scale * static_cast<float>(Q::level(word, in_group % Q::kPerWord));
  }
}

/// c[i][j] (+)= sum over groups of scale_x[i] scale_w[j] (sum_k x[i][k] w[j][k]) for i < kRows, j < kPanel.
template <typename Q, int kRows>
inline __attribute__((always_inline)) void multiply_quantized(const int32_t* a, const int32_t* b, int64_t depth,
                                                              float* c, int64_t stride, Into into, Ahead ahead) {
  // Sums always start from what is in c: with a choice in it, the compiler makes one multiply-add of the expression
  // below in some tiles and two operations in others, and a row's bits would depend on its tile.
  for (int i = 0; i < kRows && into == Into::kOverwrite; ++i) {
    store(c + i * stride, vec{});
    store(c + i * stride + kLanes, vec{});
  }
  for (int64_t k = 0; k < depth; k += kQuantGroup) {
    const int64_t words = ceil_div(min(kQuantGroup, depth - k), Q::kPerWord);
    const float* a_scales = reinterpret_cast<const float*>(a);
    const float* b_scales = reinterpret_cast<const float*>(b);
    ivec sums[kRows][2] = {};
    if constexpr (Q::kHeader == 2) {
      for (int i = 0; i < kRows; ++i) {
        const ivec zero = broadcast_word(a[kQuantizedRows + i]);
        sums[i][0] = Q::first_sum(zero, load_words(b + kPanel));
        sums[i][1] = Q::first_sum(zero, load_words(b + kPanel + kLanes));
      }
    }
    a += Q::kHeader * kQuantizedRows;
    b += Q::kHeader * kPanel;
    for (int row = 0; row < Q::kHeader; ++row) ahead.fetch<kPanel * int64_t{sizeof(int32_t)}>();
    for (int64_t word = 0; word < words; ++word) {
      const ivec b0 = load_words(b), b1 = load_words(b + kLanes);
      ahead.fetch<kPanel * int64_t{sizeof(int32_t)}>();
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
        const ivec x = broadcast_word(a[i]);
        sums[i][0] = Q::add_dot(sums[i][0], x, b0);
        sums[i][1] = Q::add_dot(sums[i][1], x, b1);
        asm volatile("" ::: "memory");  // or the compiler loads all of x first, and spills sums for it
      }
      a += kQuantizedRows;
      b += kPanel;
    }
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      float* row = c + i * stride;
      for (int half = 0; half < 2; ++half, row += kLanes) {
        const vec scaled = __builtin_convertvector(sums[i][half], vec) * broadcast(a_scales[i]);
        store(row, load(row) + scaled * load(b_scales + half * kLanes));
      }
    }
  }
}

/// What `linear` is made of, for quantised weights.
template <typename Q>
struct QuantizedProduct {
  using X = int32_t;     // unit of packed x
  using W = int32_t;     // unit of packed W
  using Source = float;  // of the rows that pack_rows takes
  static constexpr int kRows = kQuantizedRows;
  static constexpr int64_t kChain = kDepthBlock;  // integers are summed exactly
  static constexpr int64_t kShortChain = kDepthBlock;

  static int64_t x_units(int64_t depth) { return quantized_words<Q>(depth, kRows); }
  static int64_t w_units(int64_t depth) { return quantized_words<Q>(depth, kPanel); }
  static int64_t steps(int64_t depth) { return quantized_words<Q>(depth, 1); }

  static void pack_x(const float* x, int64_t stride, int rows, int64_t depth, X* tile) {
    for (int i = 0; i < rows; ++i) {
      quantize_row<Q>(x + i * stride, depth, tile, kRows, i, Q::quantize_x);
    }
  }
  static void pack_rows(const Source* x, int64_t stride, int64_t rows, int64_t depth, int64_t column, W* panel) {
    for (int64_t i = 0; i < rows; ++i) {
      quantize_row<Q>(x + i * stride, depth, panel, kPanel, column + i, Q::quantize_w);
    }
  }
  static void unpack_row(const W* panel, int64_t depth, int64_t column, Source* row) {
    dequantize_row<Q>(panel, kPanel, column, depth, row);
  }
  static void multiply(int rows, const X* a, const W* b, int64_t depth, float* c, int64_t stride, Into into,
                       Ahead ahead) {
    switch (rows) {
#define ALBERT_FAST_ROWS(n) \
  case n:                   \
    return multiply_quantized<Q, n>(a, b, depth, c, stride, into, ahead);
      ALBERT_FAST_ROWS(1)
      ALBERT_FAST_ROWS(2)
      ALBERT_FAST_ROWS(3)
      ALBERT_FAST_ROWS(4)
#ifdef ALBERT_FAST_32_REGISTERS
      ALBERT_FAST_ROWS(5)
      ALBERT_FAST_ROWS(6)
      ALBERT_FAST_ROWS(7)
      ALBERT_FAST_ROWS(8)
#endif
#undef ALBERT_FAST_ROWS
      default:
        __builtin_unreachable();
    }
  }
};

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

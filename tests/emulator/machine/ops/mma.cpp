// mma.sync: D[16][8] = A[16][K] B[K][8] + C[16][8] over the 32 lanes of a warp.
//
// Fragments, with g = lane / 4 and t = lane % 4 (K = 8 has the first half of the registers, but for tf32):
//     A, 16-bit   register r: row g + 8 (r % 2), columns 2 t + 8 (r / 2) and the next
//     B, 16-bit   register r: rows 2 t + 8 r and the next, column g
//     A, tf32     register r: row g + 8 (r % 2), column t + 4 (r / 2)
//     B, tf32     register r: row t + 4 r, column g
//     C, D f32    register r: row g + 8 (r / 2), column 2 t + r % 2
//     C, D f16    register r: row g + 8 r, columns 2 t and the next
// Sums run over k upwards in fp32, from C on. Products of 16-bit numbers are exact in fp32. Integers and doubles:
// mma_wide.cpp.
#include <bit>
#include <cstring>

#include "emulator/machine/lanes.h"
#include "emulator/machine/numbers.h"
#include "emulator/machine/ops/decode.h"

namespace emulator {
namespace {

struct Half {
  static float widen(uint16_t x) { return half_to_float(x); }
};
struct Brain {
  static float widen(uint16_t x) { return bf16_to_float(x); }
};
struct Tensor32 {};

using Row = float __attribute__((vector_size(32)));  // of B or C: left to itself, GCC 12 finds no vectors here

/// The matrices, unpacked. Lanes in order make rows in order: the 32 lanes of a register of A or B are an 8 x 8 matrix
/// of 16-bit numbers (8 x 4 of tf32) row by row, of B the transposed one; registers of C come in pairs, column by
/// column.
template <class Format, int kK>
struct Fragments {
  static constexpr bool kTf32 = std::is_same_v<Format, Tensor32>;
  static constexpr int kColumns = kTf32 ? 4 : 8;  // of k, in one register
  alignas(32) float a[16][kK], b[kK][8], c[16][8];

  void load(Warp& w, const Instruction& i) {
    for (int block = 0; block < kK / kColumns; ++block) {
      float part[8][kColumns];
      for (int high = 0; high < 2; ++high) {
        widen(w, i.a[block * 2 + high], part);
        for (int m = 0; m < 8; ++m) std::memcpy(&a[high * 8 + m][block * kColumns], part[m], sizeof part[m]);
      }
      widen(w, i.b[block], part);
      for (int k = 0; k < kColumns; ++k) {
        for (int n = 0; n < 8; ++n) b[block * kColumns + k][n] = part[n][k];
      }
    }
  }

  static void widen(Warp& w, uint32_t offset, float (&to)[8][kColumns]) {
    float* flat = &to[0][0];
    if constexpr (kTf32) {
      const uint32_t* from = w.lanes<uint32_t>(offset);
      for (int e = 0; e < 32; ++e) flat[e] = std::bit_cast<float>(from[e] & ~0x1fffu);
    } else {
      uint16_t from[64];
      std::memcpy(from, w.lanes<uint32_t>(offset), sizeof from);
      for (int e = 0; e < 64; ++e) flat[e] = Format::widen(from[e]);
    }
  }

  /// Four rows at a time, for four sums are under way while one waits for its addition.
  void multiply() {
    for (int m = 0; m < 16; m += 4) {
      Row sum[4];
      std::memcpy(sum, c[m], sizeof sum);
      for (int k = 0; k < kK; ++k) {
        Row row;
        std::memcpy(&row, b[k], sizeof row);
        for (int r = 0; r < 4; ++r) sum[r] += a[m + r][k] * row;
      }
      std::memcpy(c[m], sum, sizeof sum);
    }
  }
};

template <class Format, int kK>
void run_f32(Warp& w, const Instruction& i) {
  Fragments<Format, kK> f;
  f.load(w, i);
  for (int half = 0; half < 2; ++half) {
    const float *even = w.lanes<float>(i.c[half * 2]), *odd = w.lanes<float>(i.c[half * 2 + 1]);
    float* c = f.c[half * 8];
    for (int l = 0; l < 32; ++l) {
      c[l * 2] = even[l];
      c[l * 2 + 1] = odd[l];
    }
  }
  f.multiply();
  for (int half = 0; half < 2; ++half) {
    float *even = w.lanes<float>(i.d[half * 2]), *odd = w.lanes<float>(i.d[half * 2 + 1]);
    const float* c = f.c[half * 8];
    for (int l = 0; l < 32; ++l) {
      even[l] = c[l * 2];
      odd[l] = c[l * 2 + 1];
    }
  }
  w.block->counters.tensor_flops += 16 * 8 * kK * 2;
}

template <int kK>
void run_f16(Warp& w, const Instruction& i) {
  Fragments<Half, kK> f;
  f.load(w, i);
  for (int r = 0; r < 2; ++r) {
    const uint32_t* c = w.lanes<uint32_t>(i.c[r]);
    for (int l = 0; l < 32; ++l) {
      f.c[l / 4 + r * 8][l % 4 * 2] = half_to_float(static_cast<uint16_t>(c[l]));
      f.c[l / 4 + r * 8][l % 4 * 2 + 1] = half_to_float(static_cast<uint16_t>(c[l] >> 16));
    }
  }
  f.multiply();
  for (int r = 0; r < 2; ++r) {
    uint32_t* d = w.lanes<uint32_t>(i.d[r]);
    for (int l = 0; l < 32; ++l) {
      const float* from = &f.c[l / 4 + r * 8][l % 4 * 2];
      d[l] = to_half(from[0]) | uint32_t{to_half(from[1])} << 16;
    }
  }
  w.block->counters.tensor_flops += 16 * 8 * kK * 2;
}

}  // namespace

void decode_mma(Decoder& d, Instruction& i) {
  i.kind = InstructionClass::kTensor;
  i.flow = Flow::kAligned;
  if (!d.take("sync") || !d.take("aligned") || !d.take("row") || !d.take("col")) d.unknown();
  const std::string shape = d.take_any({"m16n8k16", "m16n8k8", "m16n8k32", "m8n8k4"});
  i.mode = d.take("satfinite");
  const ptx::ScalarType to = d.take_type(), a = d.take_type(), b = d.take_type(), c = d.take_type();
  if (a.bits == 8 || a.bits == 64) return decode_mma_wide(d, i, shape, {to, a, b, c});
  const bool k16 = shape == "m16n8k16";
  const bool tf32 = a.kind == ptx::Type::kTFloat, brain = a.kind == ptx::Type::kBFloat;
  if ((!k16 && shape != "m16n8k8") || i.mode || !(a == b) || !(to == c) || a.lanes != 1 || (tf32 ? k16 : a.bits != 16))
    d.unknown();
  if (to.bits == 32 && to.kind == ptx::Type::kFloat) {
    i.run = tf32    ? run_f32<Tensor32, 8>
            : brain ? (k16 ? run_f32<Brain, 16> : run_f32<Brain, 8>)
                    : (k16 ? run_f32<Half, 16> : run_f32<Half, 8>);
  } else if (to == a && !brain) {
    i.run = k16 ? run_f16<16> : run_f16<8>;
  } else {
    d.unknown();
  }
  d.expect_operands(4);
  const bool wide = k16 || tf32;
  decode_destinations(d, d.operand(0), to.bits / 8, 32, i.d);
  decode_sources(d, d.operand(1), wide ? 4 : 2, 32, i.a);
  decode_sources(d, d.operand(2), wide ? 2 : 1, 32, i.b);
  decode_sources(d, d.operand(3), to.bits / 8, 32, i.c);
}

}  // namespace emulator

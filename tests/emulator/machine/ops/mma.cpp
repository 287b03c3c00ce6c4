// mma.sync: D[16][8] = A[16][K] B[K][8] + C[16][8] over the 32 lanes of a warp.
//
// Fragments, with g = lane / 4 and t = lane % 4 (K = 8 has the first half of the registers, but for tf32):
//     A, 16-bit   register r: row g + 8 (r % 2), columns 2 t + 8 (r / 2) and the next
//     B, 16-bit   register r: rows 2 t + 8 r and the next, column g
//     A, tf32     register r: row g + 8 (r % 2), column t + 4 (r / 2)
//     B, tf32     register r: row t + 4 r, column g
//     C, D f32    register r: row g + 8 (r / 2), column 2 t + r % 2
//     C, D f16    register r: row g + 8 r, columns 2 t and the next
// Sums run over k upwards in fp32, from C on. Products of 16-bit numbers are exact in fp32.
#include <bit>
#include <cmath>

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

template <class Format, int kK>
struct Fragments {
  alignas(32) float a[16][kK], b[kK][8], c[16][8];

  void load(Warp& w, const Instruction& i) {
    constexpr bool kTf32 = std::is_same_v<Format, Tensor32>;
    constexpr int kStep = kTf32 ? 4 : 8, kBlocks = kK / kStep;
    for (int block = 0; block < kBlocks; ++block) {
      for (int high = 0; high < 2; ++high)
        scatter_a<kTf32>(w.lanes<uint32_t>(i.a[block * 2 + high]), high * 8, block * kStep);
      scatter_b<kTf32>(w.lanes<uint32_t>(i.b[block]), block * kStep);
    }
  }

  template <bool kTf32>
  void scatter_a(const uint32_t* r, int row, int column) {
    for (int l = 0; l < 32; ++l) {
      float* to = &a[row + l / 4][column];
      if constexpr (kTf32) {
        to[l % 4] = std::bit_cast<float>(r[l] & ~0x1fffu);
      } else {
        to[l % 4 * 2] = Format::widen(static_cast<uint16_t>(r[l]));
        to[l % 4 * 2 + 1] = Format::widen(static_cast<uint16_t>(r[l] >> 16));
      }
    }
  }

  template <bool kTf32>
  void scatter_b(const uint32_t* r, int row) {
    for (int l = 0; l < 32; ++l) {
      if constexpr (kTf32) {
        b[row + l % 4][l / 4] = std::bit_cast<float>(r[l] & ~0x1fffu);
      } else {
        b[row + l % 4 * 2][l / 4] = Format::widen(static_cast<uint16_t>(r[l]));
        b[row + l % 4 * 2 + 1][l / 4] = Format::widen(static_cast<uint16_t>(r[l] >> 16));
      }
    }
  }

  void multiply() {
    for (int m = 0; m < 16; ++m) {
      float sum[8];
      for (int n = 0; n < 8; ++n) sum[n] = c[m][n];
      for (int k = 0; k < kK; ++k) {
        for (int n = 0; n < 8; ++n) sum[n] = std::fma(a[m][k], b[k][n], sum[n]);
      }
      for (int n = 0; n < 8; ++n) c[m][n] = sum[n];
    }
  }
};

template <class Format, int kK>
void run_f32(Warp& w, const Instruction& i) {
  Fragments<Format, kK> f;
  f.load(w, i);
  for (int r = 0; r < 4; ++r) {
    const float* c = w.lanes<float>(i.c[r]);
    for (int l = 0; l < 32; ++l) f.c[l / 4 + r / 2 * 8][l % 4 * 2 + r % 2] = c[l];
  }
  f.multiply();
  for (int r = 0; r < 4; ++r) {
    float* d = w.lanes<float>(i.d[r]);
    for (int l = 0; l < 32; ++l) d[l] = f.c[l / 4 + r / 2 * 8][l % 4 * 2 + r % 2];
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

void take_registers(Decoder& d, const ptx::Operand& o, size_t count, bool writes, uint32_t (&to)[4]) {
  const auto all = o.kind == ptx::Operand::kVector ? o.elements : std::vector<ptx::Operand>{o};
  if (all.size() != count) d.unknown("another number of registers than the fragment has");
  for (size_t r = 0; r < count; ++r) {
    if (writes && all[r].kind != ptx::Operand::kRegister) d.unknown();
    to[r] = writes ? d.destination(all[r], 32) : d.source(all[r], 32);
  }
}

}  // namespace

void decode_mma(Decoder& d, Instruction& i) {
  i.kind = InstructionClass::kTensor;
  i.flow = Flow::kAligned;
  if (!d.take("sync") || !d.take("aligned") || !d.take("row") || !d.take("col")) d.unknown();
  const std::string shape = d.take_any({"m16n8k16", "m16n8k8"});
  const ptx::ScalarType to = d.take_type(), a = d.take_type(), b = d.take_type(), c = d.take_type();
  const bool k16 = shape == "m16n8k16";
  const bool tf32 = a.kind == ptx::Type::kTFloat, brain = a.kind == ptx::Type::kBFloat;
  if (shape.empty() || !(a == b) || !(to == c) || a.lanes != 1 || (tf32 ? k16 : a.bits != 16)) d.unknown();
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
  take_registers(d, d.operand(0), to.bits / 8, true, i.d);
  take_registers(d, d.operand(1), wide ? 4 : 2, false, i.a);
  take_registers(d, d.operand(2), wide ? 2 : 1, false, i.b);
  take_registers(d, d.operand(3), to.bits / 8, false, i.c);
}

}  // namespace emulator

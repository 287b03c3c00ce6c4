// mma.sync that sums 8-bit integers in 32 bits, or doubles: D[M][8] = A[M][K] B[K][8] + C[M][8].
//
// Fragments, with g = lane / 4, t = lane % 4, and p numbers in a register (4 integers, 1 double):
//     A      register r: row g + 8 (r % 2), columns p t + 4 p (r / 2) and the following
//     B      register r: rows p t + 4 p r and the following, column g
//     C, D   register r: row g + 8 (r / 2), column 2 t + r % 2
// Integer sums wrap, or stop at the ends of 32 bits with .satfinite.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "emulator/machine/lanes.h"
#include "emulator/machine/ops/decode.h"

namespace emulator {
namespace {

template <class A, class B, int kK>
int32_t dot(const Instruction& i, const A (&a)[kK], const B (&b)[kK], int32_t c) {
  int64_t sum = c;
  for (int k = 0; k < kK; ++k) sum += int{a[k]} * int{b[k]};
  using Limits = std::numeric_limits<int32_t>;
  return static_cast<int32_t>(i.mode ? std::clamp<int64_t>(sum, Limits::min(), Limits::max()) : sum);
}
template <int kK>
double dot(const Instruction&, const double (&a)[kK], const double (&b)[kK], double c) {
  for (int k = 0; k < kK; ++k) c = std::fma(a[k], b[k], c);
  return c;
}

/// A lane's registers in a row are a row of A, or a column of B.
template <class A, class B, class Sum, int kM, int kK>
void run_wide(Warp& w, const Instruction& i) {
  constexpr int kColumns = sizeof(A) == 1 ? 16 : 4;  // of k, in one register
  A a[kM][kK];
  B b[8][kK];
  for (int k = 0; k < kK; k += kColumns) {
    for (int m = 0; m < kM; ++m) {
      const uint32_t reg = i.a[k / kColumns * (kM / 8) + m / 8];
      std::memcpy(&a[m][k], w.lanes<A>(reg) + m % 8 * kColumns, kColumns * sizeof(A));
    }
    for (int n = 0; n < 8; ++n) {
      std::memcpy(&b[n][k], w.lanes<B>(i.b[k / kColumns]) + n * kColumns, kColumns * sizeof(B));
    }
  }
  for (int r = 0; r < kM / 4; ++r) {
    const Sum* c = w.lanes<Sum>(i.c[r]);
    Sum* d = w.lanes<Sum>(i.d[r]);
    for (int l = 0; l < 32; ++l) d[l] = dot(i, a[l / 4 + r / 2 * 8], b[l % 4 * 2 + r % 2], c[l]);
  }
  w.block->counters.tensor_flops += kM * 8 * kK * 2;
}

template <class A, int kK>
Run select_integer(ptx::ScalarType b) {
  return b.is_signed() ? run_wide<A, int8_t, int32_t, 16, kK> : run_wide<A, uint8_t, int32_t, 16, kK>;
}

}  // namespace

void decode_mma_wide(Decoder& d, Instruction& i, const std::string& shape,
                     const std::array<ptx::ScalarType, 4>& types) {
  const auto& [to, a, b, c] = types;
  const ptx::ScalarType real{ptx::Type::kFloat, 64}, integer{ptx::Type::kSigned, 32};
  size_t registers_a = 1, registers_b = 1, registers_c = 2;
  if (a == real && b == real && c == real && to == real && shape == "m8n8k4" && !i.mode) {
    i.run = run_wide<double, double, double, 8, 4>;
  } else if (a.bits == 8 && b.bits == 8 && c == integer && to == integer &&
             (shape == "m16n8k16" || shape == "m16n8k32")) {
    const bool k32 = shape == "m16n8k32";
    i.run = a.is_signed() ? (k32 ? select_integer<int8_t, 32>(b) : select_integer<int8_t, 16>(b))
                          : (k32 ? select_integer<uint8_t, 32>(b) : select_integer<uint8_t, 16>(b));
    registers_a = k32 ? 4 : 2;
    registers_b = k32 ? 2 : 1;
    registers_c = 4;
  } else {
    d.unknown();
  }
  d.expect_operands(4);
  decode_destinations(d, d.operand(0), registers_c, to.bits, i.d);
  decode_sources(d, d.operand(1), registers_a, std::max(a.bits, uint8_t{32}), i.a);
  decode_sources(d, d.operand(2), registers_b, std::max(b.bits, uint8_t{32}), i.b);
  decode_sources(d, d.operand(3), registers_c, c.bits, i.c);
}

}  // namespace emulator

// Vectors, once for every instruction set.
//
// Kernel files are compiled once per variant (see csrc/cpu/CMakeLists.txt) with these macros:
//   ALBERT_FAST_VARIANT       the namespace, e.g. avx2
//   ALBERT_FAST_VECTOR_BYTES  16, 32 or 64
//   ALBERT_FAST_REAL          float, or double for the variant that gradient checks run on
//   ALBERT_FAST_32_REGISTERS  defined where the target has 32 vector registers, not 16
// The compiler lowers a vector wider than its target's registers, which is how the 512-bit code runs on AVX2.
//
// Everything the variants define lives in their own namespace, and they use no inline function of the standard
// library: the linker keeps one copy of such a function, and it could be the AVX-512 one.
#pragma once

#include <cstdint>

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

using real = ALBERT_FAST_REAL;

inline constexpr int kLanes = ALBERT_FAST_VECTOR_BYTES / sizeof(real);

typedef real vec __attribute__((vector_size(ALBERT_FAST_VECTOR_BYTES)));
typedef real unaligned_vec __attribute__((vector_size(ALBERT_FAST_VECTOR_BYTES), aligned(sizeof(real)), may_alias));

inline vec load(const real* p) { return *reinterpret_cast<const unaligned_vec*>(p); }
inline void store(real* p, vec v) { *reinterpret_cast<unaligned_vec*>(p) = v; }

/// Written as x - 0, which is x to the last bit and which compilers turn into one broadcast from memory.
inline vec broadcast(real x) { return x - vec{}; }

/// The first n < kLanes elements, zeros behind them.
inline vec load_partial(const real* p, int64_t n) {
  vec v = {};
  for (int i = 0; i < kLanes; ++i) {
    if (i < n) v[i] = p[i];
  }
  return v;
}

inline void store_partial(real* p, vec v, int64_t n) {
  for (int i = 0; i < kLanes; ++i) {
    if (i < n) p[i] = v[i];
  }
}

/// Lanes are added in halves, so the order depends on kLanes alone.
inline real sum(vec v) {
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) v[i] += v[i + half];
  }
  return v[0];
}

inline real max(vec v) {
  real m = v[0];
  for (int i = 1; i < kLanes; ++i) m = v[i] > m ? v[i] : m;
  return m;
}

inline vec max(vec a, vec b) { return a > b ? a : b; }

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

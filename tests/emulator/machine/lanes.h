// How an instruction's formula is applied to the 32 lanes of a warp.
//
// The loops have a fixed length and no branch, so that the compiler makes vectors of them; lanes that are not active
// compute too and throw the result away, so a formula must be defined for all inputs.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "emulator/machine/warp.h"

namespace emulator {

/// Results go through memory of their own: a destination may be a source too.
template <class D>
inline void store(Warp& w, uint32_t offset, const D (&result)[32]) {
  D* d = w.lanes<D>(offset);
  if (w.mask == UINT32_MAX) {
    std::memcpy(d, result, sizeof result);
  } else {
    for (int l = 0; l < 32; ++l) d[l] = (w.mask >> l & 1) ? result[l] : d[l];
  }
}

template <class D, class A, class F>
inline void map1(Warp& w, const Instruction& i, F f) {
  const A* a = w.lanes<A>(i.a[0]);
  D result[32];
  for (int l = 0; l < 32; ++l) result[l] = f(a[l]);
  store(w, i.d[0], result);
}

template <class D, class A, class B, class F>
inline void map2(Warp& w, const Instruction& i, F f) {
  const A* a = w.lanes<A>(i.a[0]);
  const B* b = w.lanes<B>(i.b[0]);
  D result[32];
  for (int l = 0; l < 32; ++l) result[l] = f(a[l], b[l]);
  store(w, i.d[0], result);
}

template <class D, class A, class B, class C, class F>
inline void map3(Warp& w, const Instruction& i, F f) {
  const A* a = w.lanes<A>(i.a[0]);
  const B* b = w.lanes<B>(i.b[0]);
  const C* c = w.lanes<C>(i.c[0]);
  D result[32];
  for (int l = 0; l < 32; ++l) result[l] = f(a[l], b[l], c[l]);
  store(w, i.d[0], result);
}

inline void store_predicate(Warp& w, uint32_t offset, uint32_t bits) {
  uint32_t& p = w.predicate(offset);
  p = (p & ~w.mask) | (bits & w.mask);
}

/// Calls f(lane) for each active lane.
template <class F>
inline void each_lane(uint32_t mask, F f) {
  for (; mask; mask &= mask - 1) f(std::countr_zero(mask));
}

}  // namespace emulator

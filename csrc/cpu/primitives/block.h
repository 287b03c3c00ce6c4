// Small integer helpers of the kernels' loops.
#pragma once

#include <cstdint>

namespace albert_fast::cpu::ALBERT_FAST_VARIANT {

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t n, int64_t multiple) { return ceil_div(n, multiple) * multiple; }
inline int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }

}  // namespace albert_fast::cpu::ALBERT_FAST_VARIANT

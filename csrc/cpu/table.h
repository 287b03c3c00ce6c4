// The CPU backend's tables: one per instruction set and storage type.
#pragma once

#include <string>
#include <vector>

#include "kernels/ops.h"

namespace albert_fast::cpu {

/// Instruction sets this machine can run, the best first: of "avx512_vnni", "avx512", "avx2", "avx512_on_avx2", "neon",
/// "portable". avx512_vnni differs from avx512 in the products of int16 and int8 alone, not in their results.
/// avx512_on_avx2 is the AVX-512 source lowered to AVX2, for testing it where there is no AVX-512; builds with
/// ALBERT_FAST_VARIANTS=TESTS alone have it.
std::vector<std::string> available_isas();

/// The one used when nobody says: ALBERT_FAST_CPU_ISA if set, else the first available.
/// Throws DeviceError if the variable names one that is unknown or that this machine cannot run.
std::string default_isa();

/// Tables of a variant that computes in float32: with weights of float32, bfloat16, int16 and int8.
inline constexpr int kFloatTables = 4;

/// The table for `isa` ("" = default_isa()) whose weight_dtype is `dtype`; float64 exists as "portable" alone, whatever
/// `isa` says. Throws DeviceError as above, InvalidInputError for a dtype the CPU has no kernels for.
const Ops& find_ops(const std::string& isa, DType dtype);

}  // namespace albert_fast::cpu

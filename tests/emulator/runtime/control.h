// What a test asks of the emulated CUDA runtime beside CUDA's own calls: seeds, limits, and what the launches reported.
// Plain C, so that Python reaches it through ctypes in whatever shared library the runtime was linked into.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Found by name at run time, so exported although the project hides symbols by default.
#define EMULATOR_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/// A fresh device with default settings: no allocations, streams, errors or reports. Registered kernels stay.
/// cudaDeviceReset does the same but keeps settings and reports.
EMULATOR_API void emulator_reset(void);

/// The order in which warps, blocks, streams and graph nodes run is a function of the seed.
EMULATOR_API void emulator_set_seed(uint64_t seed);

/// Host threads over which the blocks of a grid are spread; at least 1.
EMULATOR_API void emulator_set_num_threads(int num_threads);

/// Bytes of device memory, beyond which cudaMalloc says cudaErrorMemoryAllocation.
EMULATOR_API void emulator_set_memory_limit(size_t bytes);

/// Which device cudaGetDeviceProperties describes: 80, 86, 89 or 90. Returns 0, or 1 for any other number.
EMULATOR_API int emulator_set_compute_capability(int capability);

/// What went wrong since the last call: errors found in kernels and misuse of CUDA calls, one a line.
/// Returns the length. The text is written, and forgotten, only if it fits in `size` with its final zero, so that a
/// call with size 0 asks for the length.
EMULATOR_API size_t emulator_take_report(char* text, size_t size);

/// A JSON list with one object per launch since the last call, at most the newest 10000: kernel, grid, block,
/// dynamic_shared, seed, counters. Same rules for the length.
EMULATOR_API size_t emulator_take_counters(char* json, size_t size);

/// The PTX that a kernel comes from, whole; same rules for the length, and 0 if no kernel has that name.
EMULATOR_API size_t emulator_kernel_ptx(const char* kernel, char* text, size_t size);

/// From its next launch on, a kernel runs what this PTX has under its name; with null, its own again. For mutants: the
/// host code stays as it is. Returns 0, or 1 if the PTX does not parse or has no such kernel; the report says why.
EMULATOR_API int emulator_replace_kernel(const char* kernel, const char* ptx);

#ifdef __cplusplus
}
#endif

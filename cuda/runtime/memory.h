// Device memory, and copies in both directions: the memory part of the contract's Ops.
#pragma once

#include <cstddef>

#include "kernels/types.h"

namespace albert_fast::cuda {

/// Throws DeviceError that says how much was asked for and how much there is.
void* allocate(size_t bytes);
void release(void* data, size_t bytes);

/// Through a ring of pinned memory: `host` is copied out at once, and the transfer overlaps with what the caller does
/// next. Threads take turns.
void upload(void* to, const void* host, size_t bytes, Stream stream);
void download(void* host, const void* from, size_t bytes, Stream stream);
void copy(void* to, const void* from, size_t bytes, Stream stream);

}  // namespace albert_fast::cuda

// Host memory for weights and workspaces.
#pragma once

#include <cstddef>

#include "kernels/types.h"

namespace albert_fast::cpu {

/// 64-byte aligned, zero pages until touched; large blocks sit on huge pages where the system has them, because a
/// pass over the layer touches 800 MB and 4 KB pages would miss the TLB on each. Throws std::bad_alloc.
void* allocate(size_t bytes);
void release(void* data, size_t bytes);

/// At once: the host and the device are one.
void copy(void* to, const void* from, size_t bytes, Stream stream);

}  // namespace albert_fast::cpu

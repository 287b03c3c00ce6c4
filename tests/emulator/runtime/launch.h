// From a launch as host code makes it to one as the emulated machine takes it.
#pragma once

#include <cuda_runtime_api.h>

#include "emulator/runtime/context.h"

namespace emulator::runtime {

/// What may be known of a kernel before it is launched.
struct KernelLimits {
  size_t static_shared, dynamic_shared;  // bytes; what it has, and what a launch may add
  int threads;                           // per block
};
KernelLimits limits_of(Context&, Device&, const Kernel&);

/// Allows launches with that many bytes of dynamic shared memory.
void opt_in(Context&, Device&, const Kernel&, int bytes);

/// Checks the launch as a driver does, copies the arguments, and queues the kernel. Throws Failure.
void launch_kernel(Context&, Device&, const Kernel&, dim3 grid, dim3 block, void** arguments, size_t dynamic_shared,
                   cudaStream_t);

/// Blocks that fit on one multiprocessor at a time, by threads, blocks and shared memory. Registers are not known
/// before ptxas has run, so that the true number may be smaller.
int resident_blocks(Context&, Device&, const Kernel&, int threads, size_t dynamic_shared);

}  // namespace emulator::runtime

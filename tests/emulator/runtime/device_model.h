// The device that the emulated runtime claims to be. The figures come from the CUDA programming guide's table of
// compute capabilities; they steer the host code (tile choice, shared-memory opt-in, occupancy), never the interpreter.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace emulator::runtime {

constexpr int kMaxThreadsPerBlock = 1024;
constexpr int kMaxBlockDepth = 64;             // blockDim.z
constexpr unsigned kMaxGridHeight = 65535;     // gridDim.y and .z
constexpr size_t kSharedByDefault = 48 << 10;  // bytes per block; beyond it, a kernel opts in
constexpr size_t kSharedReserved = 1 << 10;    // bytes of each block that the system keeps
constexpr int kConstantBytes = 64 << 10;
constexpr int kRegisters = 64 << 10;  // 32-bit registers per multiprocessor

struct DeviceModel {
  int capability;  // 80 for 8.0
  int multiprocessors;
  int threads_per_multiprocessor, blocks_per_multiprocessor;
  size_t shared_per_multiprocessor;  // bytes
  size_t l2_bytes;
  size_t shared_opt_in() const { return shared_per_multiprocessor - kSharedReserved; }
};

/// Null for a capability that is not modelled.
const DeviceModel* device_model(int capability);

cudaDeviceProp properties(const DeviceModel&, size_t memory_bytes);

/// Throws Failure with cudaErrorInvalidValue for an attribute that is not modelled.
int attribute(const DeviceModel&, cudaDeviceAttr);

}  // namespace emulator::runtime

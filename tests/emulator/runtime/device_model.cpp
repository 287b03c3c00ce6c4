#include "emulator/runtime/device_model.h"

#include <algorithm>
#include <cstdio>
#include <limits>

#include "emulator/runtime/failure.h"

namespace emulator::runtime {
namespace {

// A100, GA102, AD102 and H100 SXM as their data sheets have them.
constexpr DeviceModel kModels[] = {
    {80, 108, 2048, 32, 164 << 10, 40 << 20},
    {86, 84, 1536, 16, 100 << 10, 6 << 20},
    {89, 142, 1536, 24, 100 << 10, 96 << 20},
    {90, 132, 2048, 32, 228 << 10, 50 << 20},
};

constexpr int kClockKilohertz = 1'000'000;  // a device has to have one; nothing here depends on it

}  // namespace

const DeviceModel* device_model(int capability) {
  const auto* found =
      std::find_if(std::begin(kModels), std::end(kModels), [&](const auto& m) { return m.capability == capability; });
  return found == std::end(kModels) ? nullptr : found;
}

cudaDeviceProp properties(const DeviceModel& model, size_t memory_bytes) {
  cudaDeviceProp p{};
  std::snprintf(p.name, sizeof p.name, "PTX emulator (sm_%d)", model.capability);
  p.totalGlobalMem = memory_bytes;
  p.sharedMemPerBlock = kSharedByDefault;
  p.sharedMemPerBlockOptin = model.shared_opt_in();
  p.sharedMemPerMultiprocessor = model.shared_per_multiprocessor;
  p.reservedSharedMemPerBlock = kSharedReserved;
  p.regsPerBlock = p.regsPerMultiprocessor = kRegisters;
  p.warpSize = 32;
  p.memPitch = std::numeric_limits<int>::max();
  p.maxThreadsPerBlock = p.maxThreadsDim[0] = p.maxThreadsDim[1] = kMaxThreadsPerBlock;
  p.maxThreadsDim[2] = kMaxBlockDepth;
  p.maxGridSize[0] = std::numeric_limits<int>::max();
  p.maxGridSize[1] = p.maxGridSize[2] = kMaxGridHeight;
  p.totalConstMem = kConstantBytes;
  p.major = model.capability / 10;
  p.minor = model.capability % 10;
  p.multiProcessorCount = model.multiprocessors;
  p.maxThreadsPerMultiProcessor = model.threads_per_multiprocessor;
  p.maxBlocksPerMultiProcessor = model.blocks_per_multiprocessor;
  p.l2CacheSize = static_cast<int>(model.l2_bytes);
  p.canMapHostMemory = p.unifiedAddressing = p.concurrentKernels = p.streamPrioritiesSupported = 1;
  p.memoryPoolsSupported = 1;
  p.asyncEngineCount = 2;
  return p;
}

int attribute(const DeviceModel& model, cudaDeviceAttr name) {
  const cudaDeviceProp p = properties(model, 0);
  switch (name) {
    case cudaDevAttrMaxThreadsPerBlock:
      return p.maxThreadsPerBlock;
    case cudaDevAttrMaxBlockDimX:
      return p.maxThreadsDim[0];
    case cudaDevAttrMaxBlockDimY:
      return p.maxThreadsDim[1];
    case cudaDevAttrMaxBlockDimZ:
      return p.maxThreadsDim[2];
    case cudaDevAttrMaxGridDimX:
      return p.maxGridSize[0];
    case cudaDevAttrMaxGridDimY:
      return p.maxGridSize[1];
    case cudaDevAttrMaxGridDimZ:
      return p.maxGridSize[2];
    case cudaDevAttrMaxSharedMemoryPerBlock:
      return static_cast<int>(p.sharedMemPerBlock);
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      return static_cast<int>(p.sharedMemPerBlockOptin);
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      return static_cast<int>(p.sharedMemPerMultiprocessor);
    case cudaDevAttrReservedSharedMemoryPerBlock:
      return static_cast<int>(p.reservedSharedMemPerBlock);
    case cudaDevAttrTotalConstantMemory:
      return static_cast<int>(p.totalConstMem);
    case cudaDevAttrWarpSize:
      return p.warpSize;
    case cudaDevAttrMaxRegistersPerBlock:
      return p.regsPerBlock;
    case cudaDevAttrMaxRegistersPerMultiprocessor:
      return p.regsPerMultiprocessor;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      return p.maxThreadsPerMultiProcessor;
    case cudaDevAttrMaxBlocksPerMultiprocessor:
      return p.maxBlocksPerMultiProcessor;
    case cudaDevAttrMultiProcessorCount:
      return p.multiProcessorCount;
    case cudaDevAttrL2CacheSize:
      return p.l2CacheSize;
    case cudaDevAttrComputeCapabilityMajor:
      return p.major;
    case cudaDevAttrComputeCapabilityMinor:
      return p.minor;
    case cudaDevAttrClockRate:
      return kClockKilohertz;
    case cudaDevAttrUnifiedAddressing:
      return p.unifiedAddressing;
    case cudaDevAttrConcurrentKernels:
      return p.concurrentKernels;
    case cudaDevAttrMemoryPoolsSupported:
      return p.memoryPoolsSupported;
    case cudaDevAttrCanMapHostMemory:
      return p.canMapHostMemory;
    case cudaDevAttrStreamPrioritiesSupported:
      return p.streamPrioritiesSupported;
    default:
      throw Failure{cudaErrorInvalidValue,
                    "cudaDeviceGetAttribute: attribute " + std::to_string(static_cast<int>(name)) + " is not modelled"};
  }
}

}  // namespace emulator::runtime

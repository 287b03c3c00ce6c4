// CUDA's calls about kernels, and those that nvcc's host code makes behind the program's back: registration before
// main, and the two halves of <<<>>>.
#include <cuda_runtime_api.h>

#include <utility>
#include <vector>

#include "emulator/runtime/context.h"
#include "emulator/runtime/launch.h"

using namespace emulator::runtime;

namespace {

struct CallConfiguration {
  dim3 grid, block;
  size_t dynamic_shared;
  cudaStream_t stream;
};

// A stack, because evaluating a kernel's arguments may launch another kernel.
thread_local std::vector<CallConfiguration> pushed;

Binary* binary_of(void** handle) { return reinterpret_cast<Binary*>(handle); }

cudaError_t launch(const char* name, const void* function, dim3 grid, dim3 block, void** arguments,
                   size_t dynamic_shared, cudaStream_t stream) {
  return call(name, [&](Context& context, Device& device) {
    launch_kernel(context, device, context.registry.kernel(function), grid, block, arguments, dynamic_shared, stream);
  });
}

}  // namespace

// nvcc's host code declares these for itself; no header of CUDA's does.
extern "C" {

void** __cudaRegisterFatBinary(void* wrapper) {
  void** handle = nullptr;
  under_lock([&](Context& context) { handle = reinterpret_cast<void**>(context.registry.add_binary(wrapper)); });
  return handle;
}

void __cudaRegisterFatBinaryEnd(void**) {}

void __cudaUnregisterFatBinary(void** handle) {
  under_lock([&](Context& context) {
    Binary* const binary = binary_of(handle);
    for (const emulator::Module* module : binary->modules()) context.device->allocations.memory().forget(*module);
    std::erase_if(context.device->dynamic_shared, [&](const auto& entry) { return entry.first->binary == binary; });
    context.registry.remove_binary(binary);
  });
}

void __cudaRegisterFunction(void** handle, const char* host_function, char*, const char* name, int, uint3*, uint3*,
                            dim3*, dim3*, int*) {
  under_lock([&](Context& context) { context.registry.add_kernel(host_function, {binary_of(handle), name}); });
}

void __cudaRegisterVar(void** handle, char* host_variable, char*, const char* name, int, size_t size, int, int) {
  under_lock([&](Context& context) { context.registry.add_variable(host_variable, {binary_of(handle), name, size}); });
}

char __cudaInitModule(void**) { return 1; }

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t dynamic_shared, CUstream_st* stream) {
  pushed.push_back({grid, block, dynamic_shared, stream});
  return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* dynamic_shared, void* stream) {
  if (pushed.empty()) return cudaErrorMissingConfiguration;
  const CallConfiguration top = pushed.back();
  pushed.pop_back();
  *grid = top.grid;
  *block = top.block;
  *dynamic_shared = top.dynamic_shared;
  *static_cast<cudaStream_t*>(stream) = top.stream;
  return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host_function) {
  return cudaGetKernel(kernel, host_function);
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, size_t dynamic_shared,
                               cudaStream_t stream) {
  return launch("<<<>>>", kernel, grid, block, arguments, dynamic_shared, stream);
}

}  // extern "C"

cudaError_t cudaGetKernel(cudaKernel_t* handle, const void* host_function) {
  return call("cudaGetKernel", [&](Context& context, Device&) {
    require(handle != nullptr, cudaErrorInvalidValue, "a null pointer");
    const Kernel& kernel = context.registry.kernel(host_function);
    *handle = reinterpret_cast<cudaKernel_t>(const_cast<Kernel*>(&kernel));
  });
}

cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments, size_t dynamic_shared,
                             cudaStream_t stream) {
  return launch("cudaLaunchKernel", function, grid, block, arguments, dynamic_shared, stream);
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function, void** arguments) {
  return call("cudaLaunchKernelExC", [&](Context& context, Device& device) {
    require(config != nullptr, cudaErrorInvalidValue, "a null pointer");
    for (unsigned i = 0; i < config->numAttrs; ++i) {
      const cudaLaunchAttributeID id = config->attrs[i].id;
      // A launch that may begin early may also begin in its turn.
      const bool harmless = id == cudaLaunchAttributeIgnore || id == cudaLaunchAttributePriority ||
                            id == cudaLaunchAttributeProgrammaticStreamSerialization;
      require(harmless, cudaErrorNotSupported, "a launch attribute that is not emulated");
    }
    launch_kernel(context, device, context.registry.kernel(function), config->gridDim, config->blockDim, arguments,
                  config->dynamicSmemBytes, config->stream);
  });
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  return call("cudaFuncSetAttribute", [&](Context& context, Device& device) {
    const Kernel& kernel = context.registry.kernel(function);
    switch (attribute) {
      case cudaFuncAttributeMaxDynamicSharedMemorySize:
        return opt_in(context, device, kernel, value);
      case cudaFuncAttributePreferredSharedMemoryCarveout:
        return require(value >= -1 && value <= 100, cudaErrorInvalidValue, "a share of shared memory, in per cent");
      default:
        throw Failure{cudaErrorInvalidValue, "an attribute that is not emulated"};
    }
  });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* to, const void* function) {
  return call("cudaFuncGetAttributes", [&](Context& context, Device& device) {
    require(to != nullptr, cudaErrorInvalidValue, "a null pointer");
    const Kernel& kernel = context.registry.kernel(function);
    const KernelLimits limits = limits_of(context, device, kernel);
    *to = {};
    to->sharedSizeBytes = limits.static_shared;
    to->maxDynamicSharedSizeBytes = static_cast<int>(limits.dynamic_shared);
    to->maxThreadsPerBlock = limits.threads;
    to->ptxVersion = kernel.binary->architecture(context.settings.compute_capability);
    to->binaryVersion = context.settings.compute_capability;
    to->preferredShmemCarveout = cudaSharedmemCarveoutDefault;
  });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void* function, int threads,
                                                                   size_t dynamic_shared, unsigned) {
  return call("cudaOccupancyMaxActiveBlocksPerMultiprocessor", [&](Context& context, Device& device) {
    require(blocks != nullptr, cudaErrorInvalidValue, "a null pointer");
    *blocks = resident_blocks(context, device, context.registry.kernel(function), threads, dynamic_shared);
  });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* function, int threads,
                                                          size_t dynamic_shared) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, threads, dynamic_shared, 0);
}

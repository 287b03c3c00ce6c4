// CUDA's calls that allocate, free, copy and fill.
#include <cuda_runtime_api.h>

#include <algorithm>

#include "emulator/runtime/context.h"
#include "emulator/runtime/transfer.h"

namespace emulator::runtime {
namespace {

cudaError_t allocate(const char* name, void** address, size_t bytes, Space space) {
  return call(name, [&](Context&, Device& device) {
    require(address != nullptr, cudaErrorInvalidValue, "a null pointer");
    device.streams.refuse_while_capturing();
    *address = device.allocations.allocate(bytes, space);
  });
}

/// Waits for the device: memory in use may be freed.
cudaError_t release(const char* name, void* address, Space space) {
  return call(name, [&](Context&, Device& device) {
    device.streams.refuse_while_capturing();
    if (address == nullptr) return;
    device.allocations.check_release(address, space);
    device.streams.finish_all();
    device.allocations.release(address);
  });
}

cudaError_t transfer(const char* name, const Copy& c, cudaStream_t stream, Wait wait) {
  return call(name, [&](Context&, Device& device) {
    if (wait == Wait::kYes) device.streams.refuse_while_capturing();
    copy(device, c, stream, wait);
  });
}

Copy flat(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return {to, bytes, from, bytes, bytes, 1, kind};
}

/// The bytes of a __device__ or __constant__ variable, from `offset` on.
std::byte* bytes_of(Context& context, Device& device, const void* symbol, size_t offset, size_t bytes) {
  const Variable& variable = context.registry.variable(symbol);
  const emulator::Module& module = variable.binary->module(context.settings.compute_capability);
  const uint64_t address = device.allocations.memory().variable(module, variable.name);
  require(offset + bytes <= variable.size, cudaErrorInvalidValue, "beyond the end of the variable");
  return reinterpret_cast<std::byte*>(address) + offset;
}

}  // namespace
}  // namespace emulator::runtime

using namespace emulator::runtime;

cudaError_t cudaMalloc(void** address, size_t bytes) { return allocate("cudaMalloc", address, bytes, Space::kDevice); }

cudaError_t cudaFree(void* address) { return release("cudaFree", address, Space::kDevice); }

cudaError_t cudaMallocHost(void** address, size_t bytes) {
  return allocate("cudaMallocHost", address, bytes, Space::kPinned);
}

cudaError_t cudaHostAlloc(void** address, size_t bytes, unsigned) {
  return allocate("cudaHostAlloc", address, bytes, Space::kPinned);
}

cudaError_t cudaFreeHost(void* address) { return release("cudaFreeHost", address, Space::kPinned); }

cudaError_t cudaMallocAsync(void** address, size_t bytes, cudaStream_t handle) {
  return call("cudaMallocAsync", [&](Context&, Device& device) {
    require(address != nullptr, cudaErrorInvalidValue, "a null pointer");
    const Stream& stream = device.streams.stream(handle);
    require(stream.capture == nullptr, cudaErrorNotSupported, "allocation nodes of graphs are not emulated");
    *address = device.allocations.allocate(bytes, Space::kDevice);
  });
}

cudaError_t cudaFreeAsync(void* address, cudaStream_t handle) {
  return call("cudaFreeAsync", [&](Context&, Device& device) {
    Stream& stream = device.streams.stream(handle);
    require(stream.capture == nullptr, cudaErrorNotSupported, "allocation nodes of graphs are not emulated");
    if (address == nullptr) return;
    device.allocations.check_release(address, Space::kDevice);
    device.allocations.mark_freed(address);
    device.streams.enqueue(stream, [&device, address] { device.allocations.release(address); });
  });
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  return call("cudaMemGetInfo", [&](Context&, Device& device) {
    require(free != nullptr && total != nullptr, cudaErrorInvalidValue, "a null pointer");
    *total = device.allocations.limit();
    *free = *total - std::min(*total, device.allocations.used());
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  return call("cudaPointerGetAttributes", [&](Context&, Device& device) {
    require(attributes != nullptr, cudaErrorInvalidValue, "a null pointer");
    const Space space = device.allocations.space_of(address);
    void* const here = const_cast<void*>(address);
    *attributes = {};
    attributes->device = space == Space::kPageable ? cudaInvalidDeviceId : 0;
    attributes->type = space == Space::kDevice   ? cudaMemoryTypeDevice
                       : space == Space::kPinned ? cudaMemoryTypeHost
                                                 : cudaMemoryTypeUnregistered;
    attributes->devicePointer = space == Space::kPageable ? nullptr : here;
    attributes->hostPointer = space == Space::kDevice ? nullptr : here;
  });
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return transfer("cudaMemcpy", flat(to, from, bytes, kind), nullptr, Wait::kYes);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return transfer("cudaMemcpyAsync", flat(to, from, bytes, kind), stream, Wait::kNo);
}

cudaError_t cudaMemcpy2D(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t height,
                         cudaMemcpyKind kind) {
  return transfer("cudaMemcpy2D", {to, to_pitch, from, from_pitch, width, height, kind}, nullptr, Wait::kYes);
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  return transfer("cudaMemcpy2DAsync", {to, to_pitch, from, from_pitch, width, height, kind}, stream, Wait::kNo);
}

cudaError_t cudaMemcpyToSymbol(const void* symbol, const void* from, size_t bytes, size_t offset, cudaMemcpyKind kind) {
  return call("cudaMemcpyToSymbol", [&](Context& context, Device& device) {
    device.streams.refuse_while_capturing();
    copy(device, flat(bytes_of(context, device, symbol, offset, bytes), from, bytes, kind), nullptr, Wait::kYes);
  });
}

cudaError_t cudaMemcpyFromSymbol(void* to, const void* symbol, size_t bytes, size_t offset, cudaMemcpyKind kind) {
  return call("cudaMemcpyFromSymbol", [&](Context& context, Device& device) {
    device.streams.refuse_while_capturing();
    copy(device, flat(to, bytes_of(context, device, symbol, offset, bytes), bytes, kind), nullptr, Wait::kYes);
  });
}

cudaError_t cudaGetSymbolAddress(void** address, const void* symbol) {
  return call("cudaGetSymbolAddress", [&](Context& context, Device& device) {
    require(address != nullptr, cudaErrorInvalidValue, "a null pointer");
    *address = bytes_of(context, device, symbol, 0, 0);
  });
}

cudaError_t cudaMemset(void* to, int byte, size_t bytes) {
  return call("cudaMemset", [&](Context&, Device& device) {
    device.streams.refuse_while_capturing();
    fill(device, to, byte, bytes, nullptr, Wait::kYes);
  });
}

cudaError_t cudaMemsetAsync(void* to, int byte, size_t bytes, cudaStream_t stream) {
  return call("cudaMemsetAsync", [&](Context&, Device& device) { fill(device, to, byte, bytes, stream, Wait::kNo); });
}

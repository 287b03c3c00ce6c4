#include "runtime/device.h"

#include <cuda_runtime_api.h>

#include <map>
#include <mutex>

#include "kernels/errors.h"
#include "runtime/check.h"

namespace albert_fast::cuda {
namespace {

int attribute(cudaDeviceAttr name, int device) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, name, device), "cudaDeviceGetAttribute");
  return value;
}

}  // namespace

std::string unavailable_reason() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  cudaGetLastError();  // a failed query must not show up as the next call's error
  if (status != cudaSuccess) return cudaGetErrorString(status);
  return count > 0 ? "" : "no CUDA device";
}

int current_device() {
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  return device;
}

int device_of(const char* argument, const void* data) {
  cudaPointerAttributes attributes{};
  check(cudaPointerGetAttributes(&attributes, data), "cudaPointerGetAttributes");
  if (attributes.type != cudaMemoryTypeDevice && attributes.type != cudaMemoryTypeManaged) {
    throw InvalidInputError(std::string(argument) + ": got memory of the host, expected memory of a CUDA device");
  }
  return attributes.device;
}

const DeviceLimits& device_limits() {
  static std::mutex mutex;
  static std::map<int, DeviceLimits> known;  // by device; entries stay where they are
  const int device = current_device();
  const std::lock_guard lock(mutex);
  const auto found = known.find(device);
  if (found != known.end()) return found->second;
  const DeviceLimits limits{attribute(cudaDevAttrMultiProcessorCount, device),
                            attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
                            attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor, device)};
  return known.emplace(device, limits).first->second;
}

void order(Stream first, Stream then) {
  if (first.handle == then.handle) return;
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  const cudaError_t recorded = cudaEventRecord(event, static_cast<cudaStream_t>(first.handle));
  const cudaError_t waited = cudaStreamWaitEvent(static_cast<cudaStream_t>(then.handle), event, 0);
  cudaEventDestroy(event);  // CUDA keeps it until the wait is over
  check(recorded, "cudaEventRecord");
  check(waited, "cudaStreamWaitEvent");
}

void synchronize(Stream stream) {
  check(cudaStreamSynchronize(static_cast<cudaStream_t>(stream.handle)), "cudaStreamSynchronize");
}

}  // namespace albert_fast::cuda

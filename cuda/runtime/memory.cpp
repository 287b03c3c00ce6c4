#include "runtime/memory.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "kernels/errors.h"
#include "runtime/check.h"
#include "runtime/device.h"

namespace albert_fast::cuda {
namespace {

std::string megabytes(size_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MB"; }

cudaStream_t stream_of(Stream stream) { return static_cast<cudaStream_t>(stream.handle); }

/// Pinned memory in equal slots, taken in turn; the event of a slot tells when its last transfer is over. It is never
/// freed: at the end of the process CUDA may be gone before any destructor runs.
class Ring {
 public:
  Ring(size_t slot_bytes, int num_slots) : slot_bytes_(slot_bytes), num_slots_(num_slots) {}

  size_t slot_bytes() const { return slot_bytes_; }

  /// Queues a copy of at most slot_bytes() bytes, by way of the next slot.
  void send(void* to, const void* host, size_t bytes, cudaStream_t stream) {
    std::byte* const slot = memory_ + static_cast<size_t>(next_) * slot_bytes_;
    const cudaEvent_t sent = sent_[next_];
    check(cudaEventSynchronize(sent), "cudaEventSynchronize");
    std::memcpy(slot, host, bytes);
    check(cudaMemcpyAsync(to, slot, bytes, cudaMemcpyHostToDevice, stream), "cudaMemcpyAsync");
    check(cudaEventRecord(sent, stream), "cudaEventRecord");
    next_ = (next_ + 1) % num_slots_;
  }

  /// Whether the memory is there: not before the first call, and not after somebody reset the device, which takes
  /// memory and events away.
  bool is_alive() const {
    if (memory_ == nullptr) return false;
    cudaPointerAttributes attributes{};
    const cudaError_t found = cudaPointerGetAttributes(&attributes, memory_);
    const bool pinned = found == cudaSuccess && attributes.type == cudaMemoryTypeHost;
    const cudaError_t event = pinned ? cudaEventQuery(sent_[next_]) : cudaErrorInvalidResourceHandle;
    cudaGetLastError();  // "not ready" and what a reset left are answers, not errors
    return event == cudaSuccess || event == cudaErrorNotReady;
  }

  /// What a reset took away.
  void forget() { memory_ = nullptr; }

  void make() {
    memory_ = nullptr;
    void* memory = nullptr;
    const size_t bytes = slot_bytes_ * static_cast<size_t>(num_slots_);
    const cudaError_t status = cudaHostAlloc(&memory, bytes, cudaHostAllocDefault);
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      throw DeviceError("pinned host memory: got a request for " + megabytes(bytes) +
                        ", which the system refuses; expected that much for uploads");
    }
    check(status, "cudaHostAlloc");
    try {
      for (int i = 0; i < num_slots_; ++i) {
        check(cudaEventCreateWithFlags(&sent_[i], cudaEventDisableTiming), "cudaEventCreateWithFlags");
      }
    } catch (...) {
      cudaFreeHost(memory);
      throw;
    }
    next_ = 0;
    memory_ = static_cast<std::byte*>(memory);
  }

 private:
  static constexpr int kMostSlots = 64;

  size_t slot_bytes_;
  int num_slots_;
  int next_ = 0;
  std::byte* memory_ = nullptr;
  cudaEvent_t sent_[kMostSlots] = {};
};

/// The rings of one device.
struct Rings {
  /// Token ids and their like, several a call: so many slots that calls queued one behind the other need not wait for
  /// each other's uploads, which their stream reaches late.
  Ring small{64 << 10, 64};
  /// Weights: a slot is filled while those before it are on their way, and is large enough that a transfer takes far
  /// longer than starting it (4 MB: 160 microseconds at 25 GB/s).
  Ring large{4 << 20, 4};

  /// The one for transfers of so many bytes, alive. A reset takes the memory of both. One that is made anew may lie
  /// where the other was, and would make it look alive, so that both are looked at first.
  Ring& ring_for(size_t bytes) {
    Ring& ring = bytes <= small.slot_bytes() ? small : large;
    if (!ring.is_alive()) {
      Ring& other = &ring == &small ? large : small;
      if (!other.is_alive()) other.forget();
      ring.make();
    }
    return ring;
  }
};

/// Of the current device; left behind when the process ends.
Rings& rings() {
  static auto& by_device = *new std::map<int, Rings>;
  return by_device[current_device()];
}

void refuse_capture(const char* what, Stream stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream_of(stream), &status), "cudaStreamIsCapturing");
  if (status == cudaStreamCaptureStatusNone) return;
  throw InvalidInputError(std::string(what) + ": got a stream that is being captured, expected one that is not");
}

}  // namespace

void* allocate(size_t bytes) {
  if (bytes == 0) return nullptr;
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, bytes);
  if (status != cudaErrorMemoryAllocation) {
    check(status, "cudaMalloc");
    return data;
  }
  cudaGetLastError();  // or the next call that asks would take this error for its own
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  throw DeviceError("device memory: got a request for " + megabytes(bytes) + ", expected at most the " +
                    megabytes(free) + " free of " + megabytes(total));
}

void release(void* data, size_t) {
  cudaFree(data);
  cudaGetLastError();  // at the end of the process CUDA may be gone, and this memory with it
}

void upload(void* to, const void* host, size_t bytes, Stream stream) {
  if (bytes == 0) return;
  refuse_capture("upload", stream);
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  Ring& ring = rings().ring_for(bytes);
  for (size_t done = 0; done < bytes; done += ring.slot_bytes()) {
    ring.send(static_cast<std::byte*>(to) + done, static_cast<const std::byte*>(host) + done,
              std::min(ring.slot_bytes(), bytes - done), stream_of(stream));
  }
}

void download(void* host, const void* from, size_t bytes, Stream stream) {
  if (bytes == 0) return;
  refuse_capture("download", stream);
  check(cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, stream_of(stream)), "cudaMemcpyAsync");
  synchronize(stream);
}

void copy(void* to, const void* from, size_t bytes, Stream stream) {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_of(stream)), "cudaMemcpyAsync");
}

}  // namespace albert_fast::cuda

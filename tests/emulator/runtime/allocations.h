// What the program allocated: device memory, pinned host memory, how much is left, and what may still be used.
#pragma once

#include <map>
#include <string>

#include "emulator/machine/machine.h"
#include "emulator/runtime/failure.h"

namespace emulator::runtime {

enum class Space { kPageable, kPinned, kDevice };

struct Allocation {
  size_t bytes;
  Space space;
  bool freed = false;  // cudaFreeAsync is under way: kernels queued before it may use the memory, later calls may not
};

class Allocations {
 public:
  explicit Allocations(size_t limit) : limit_(limit) {}

  /// Throws Failure with cudaErrorMemoryAllocation, and no text, where the limit is reached. 0 bytes give null.
  void* allocate(size_t bytes, Space space);

  /// The checks of a free: an address that allocate gave, of this space, not freed before.
  void check_release(const void* address, Space space) const;
  void mark_freed(const void* address);
  void release(const void* address);

  /// The allocation that holds the address, with where it begins; null for memory of the host's own, and for module
  /// variables.
  const Allocation* find(const void* address, const void** begin) const;
  Space space_of(const void* address) const;

  /// Throws Failure with cudaErrorInvalidValue if the bytes are not all in one allocation of that space.
  void check_range(const void* address, size_t bytes, Space space) const;

  void set_limit(size_t bytes) { limit_ = bytes; }
  size_t limit() const { return limit_; }
  size_t used() const { return used_; }
  DeviceMemory& memory() { return memory_; }

 private:
  DeviceMemory memory_;  // pinned memory lies in it too, since kernels may reach it
  std::map<const void*, Allocation> allocations_;
  size_t limit_, used_ = 0;
};

std::string hex(const void* address);

}  // namespace emulator::runtime

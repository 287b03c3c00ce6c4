#include "emulator/runtime/allocations.h"

#include <algorithm>
#include <cstdio>
#include <new>

namespace emulator::runtime {
namespace {

uint64_t number(const void* address) { return reinterpret_cast<uint64_t>(address); }

const char* name_of(Space space) {
  if (space == Space::kDevice) return "device memory";
  return space == Space::kPinned ? "pinned host memory" : "host memory";
}

}  // namespace

std::string hex(const void* address) {
  char text[24];
  std::snprintf(text, sizeof text, "%p", address);
  return text;
}

void* Allocations::allocate(size_t bytes, Space space) {
  if (bytes == 0) return nullptr;
  const bool counts = space == Space::kDevice;
  if (counts && bytes > limit_ - std::min(used_, limit_)) throw Failure{cudaErrorMemoryAllocation, ""};
  void* address = nullptr;
  try {
    address = reinterpret_cast<void*>(memory_.allocate(bytes));
  } catch (const std::bad_alloc&) {
    throw Failure{cudaErrorMemoryAllocation, ""};
  }
  allocations_[address] = {bytes, space};
  if (counts) used_ += bytes;
  return address;
}

void Allocations::check_release(const void* address, Space space) const {
  const auto found = allocations_.find(address);
  if (found == allocations_.end() || found->second.freed || found->second.space != space) {
    throw Failure{cudaErrorInvalidValue,
                  "free of " + hex(address) + ", which is not the beginning of " + name_of(space) + " in use"};
  }
}

void Allocations::mark_freed(const void* address) { allocations_.at(address).freed = true; }

void Allocations::release(const void* address) {
  const auto found = allocations_.find(address);
  if (found->second.space == Space::kDevice) used_ -= found->second.bytes;
  allocations_.erase(found);
  memory_.release(number(address));  // throws if the host wrote beside it
}

const Allocation* Allocations::find(const void* address, const void** begin) const {
  auto after = allocations_.upper_bound(address);
  if (after == allocations_.begin()) return nullptr;
  --after;
  if (number(address) - number(after->first) >= after->second.bytes) return nullptr;
  *begin = after->first;
  return &after->second;
}

Space Allocations::space_of(const void* address) const {
  const void* begin = nullptr;
  if (const Allocation* allocation = find(address, &begin)) return allocation->space;
  return memory_.contains(number(address)) ? Space::kDevice : Space::kPageable;  // a module's variable, or the host's
}

void Allocations::check_range(const void* address, size_t bytes, Space space) const {
  const void* begin = nullptr;
  const Allocation* allocation = find(address, &begin);
  if ((allocation != nullptr && allocation->freed) || space_of(address) != space) {
    throw Failure{cudaErrorInvalidValue, hex(address) + " is not in " + name_of(space) + " in use"};
  }
  if (space == Space::kPageable) return;  // nobody knows where memory of the host's own ends
  try {
    memory_.host(number(address), bytes);
  } catch (const MemoryFault& fault) {
    throw Failure{cudaErrorInvalidValue, fault.what()};
  }
}

}  // namespace emulator::runtime

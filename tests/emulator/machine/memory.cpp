// Device memory: each allocation lies between two guards of its own, and the table of allocations is what accesses of
// host and kernels are checked against. Guards hold a pattern that release() looks at, which finds stray host writes.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "emulator/machine/machine.h"

namespace emulator {
namespace {

constexpr size_t kGuard = 256;  // also the alignment that cudaMalloc promises
constexpr unsigned char kPattern = 0xa5;

std::string hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

}  // namespace

struct DeviceMemory::Block {
  size_t bytes = 0;
  std::unique_ptr<unsigned char, decltype(&std::free)> storage{nullptr, &std::free};  // guard, bytes, guard
};

DeviceMemory::DeviceMemory() = default;
DeviceMemory::~DeviceMemory() = default;

uint64_t DeviceMemory::allocate(size_t bytes) {
  std::lock_guard lock(mutex_);
  return allocate_locked(bytes);
}

uint64_t DeviceMemory::allocate_locked(size_t bytes) {
  if (bytes > SIZE_MAX / 2) throw std::bad_alloc();
  const size_t padded = (std::max<size_t>(bytes, 1) + kGuard - 1) / kGuard * kGuard;
  auto* storage = static_cast<unsigned char*>(std::aligned_alloc(kGuard, padded + 2 * kGuard));
  if (!storage) throw std::bad_alloc();
  std::memset(storage, kPattern, kGuard);
  std::memset(storage + kGuard, 0xff, bytes);
  std::memset(storage + kGuard + bytes, kPattern, padded - bytes + kGuard);
  const auto address = reinterpret_cast<uint64_t>(storage + kGuard);
  Block& block = blocks_[address];
  block.bytes = bytes;
  block.storage.reset(storage);
  return address;
}

void DeviceMemory::release(uint64_t address) {
  if (address == 0) return;
  std::lock_guard lock(mutex_);
  const auto found = blocks_.find(address);
  if (found == blocks_.end()) throw MemoryFault("release of " + hex(address) + ", where no allocation begins");
  const Block block = std::move(found->second);
  blocks_.erase(found);
  const unsigned char* storage = block.storage.get();
  const auto intact = [](const unsigned char* guard) {
    return std::all_of(guard, guard + kGuard, [](unsigned char byte) { return byte == kPattern; });
  };
  if (!intact(storage) || !intact(storage + kGuard + block.bytes)) {
    throw MemoryFault("the host wrote just outside the " + std::to_string(block.bytes) + " bytes at " + hex(address));
  }
}

void* DeviceMemory::host(uint64_t address, size_t bytes) const {
  std::lock_guard lock(mutex_);
  auto next = blocks_.upper_bound(address);
  if (next != blocks_.begin()) {
    const auto& [begin, block] = *std::prev(next);
    if (address - begin <= block.bytes && bytes <= block.bytes - (address - begin)) {
      return reinterpret_cast<void*>(address);
    }
  }
  throw MemoryFault(std::to_string(bytes) + " bytes at " + hex(address) + " do not lie in one allocation");
}

bool DeviceMemory::contains(uint64_t address) const {
  std::lock_guard lock(mutex_);
  auto next = blocks_.upper_bound(address);
  if (next == blocks_.begin()) return false;
  const auto& [begin, block] = *std::prev(next);
  return address - begin < block.bytes;
}

std::vector<DeviceMemory::Range> DeviceMemory::ranges() const {
  std::lock_guard lock(mutex_);
  std::vector<Range> all;
  for (const auto& [begin, block] : blocks_) all.push_back({begin, begin + block.bytes});
  return all;
}

}  // namespace emulator

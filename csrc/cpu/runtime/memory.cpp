#include "cpu/runtime/memory.h"

#include <sys/mman.h>

#include <cstring>
#include <new>

namespace albert_fast::cpu {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

void* allocate(size_t bytes) {
  if (bytes == 0) bytes = 1;
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) throw std::bad_alloc();
  if (bytes >= 4 * kHugePage) madvise(data, bytes, MADV_HUGEPAGE);  // advice: failing costs speed only
  return data;
}

void release(void* data, size_t bytes) {
  if (data != nullptr) munmap(data, bytes == 0 ? 1 : bytes);
}

void copy(void* to, const void* from, size_t bytes, Stream) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

}  // namespace albert_fast::cpu

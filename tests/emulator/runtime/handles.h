// Handles that are numbers dressed as pointers, never given out twice: one that was destroyed is always recognised.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "emulator/runtime/failure.h"

namespace emulator::runtime {

template <class T>
class Handles {
 public:
  template <class Handle>
  Handle add(std::shared_ptr<T> object) {
    objects_.emplace(next_, std::move(object));
    return reinterpret_cast<Handle>(next_++);
  }

  /// Null if there is no such object.
  std::shared_ptr<T> find(const void* handle) const {
    const auto found = objects_.find(reinterpret_cast<uintptr_t>(handle));
    return found == objects_.end() ? nullptr : found->second;
  }

  std::shared_ptr<T> get(const void* handle, const char* what) const {
    std::shared_ptr<T> object = find(handle);
    if (object == nullptr) throw Failure{cudaErrorInvalidResourceHandle, std::string(what) + " does not exist"};
    return object;
  }

  void erase(const void* handle) { objects_.erase(reinterpret_cast<uintptr_t>(handle)); }
  template <class Predicate>
  void erase_if(Predicate predicate) {
    std::erase_if(objects_, [&](const auto& entry) { return predicate(*entry.second); });
  }
  auto begin() const { return objects_.begin(); }
  auto end() const { return objects_.end(); }

 private:
  std::map<uintptr_t, std::shared_ptr<T>> objects_;
  uintptr_t next_ = 0x10000;  // beyond cudaStreamLegacy (1) and cudaStreamPerThread (2)
};

}  // namespace emulator::runtime

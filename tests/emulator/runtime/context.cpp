#include "emulator/runtime/context.h"

#include <new>
#include <utility>

namespace emulator::runtime {
namespace {

constexpr size_t kMostCounters = 10000;  // some megabytes, if nobody ever takes them

thread_local cudaError_t thread_error = cudaSuccess;

}  // namespace

Context& Context::get() {
  // Never destroyed: host code unregisters its kernels, and frees memory, from destructors of its own.
  static Context& context = *[] {
    auto* fresh = new Context;
    fresh->reset_device();
    return fresh;
  }();
  return context;
}

void Context::reset_device() {
  device = std::make_unique<Device>(settings);
  thread_error = cudaSuccess;
}

void Context::add_counters(std::string json) {
  if (launch_counters.size() == kMostCounters) launch_counters.pop_front();
  launch_counters.push_back(std::move(json));
}

cudaError_t call(const char* name, const std::function<void(Context&, Device&)>& body) {
  Context& context = Context::get();
  const std::lock_guard lock(context.mutex);
  cudaError_t code = context.device->sticky;
  const auto failed = [&](cudaError_t with, const std::string& text) {
    code = with;
    if (!text.empty()) context.report.push_back(std::string(name) + ": " + text);
  };
  if (code == cudaSuccess) {
    try {
      body(context, *context.device);
    } catch (const Failure& failure) {
      failed(failure.code, failure.text);
    } catch (const std::bad_alloc&) {
      failed(cudaErrorMemoryAllocation, "");
    } catch (const std::exception& error) {
      failed(cudaErrorUnknown, error.what());
    }
  }
  if (code != cudaSuccess) thread_error = code;
  return code;
}

cudaError_t last_error(bool clear) {
  Context& context = Context::get();
  const std::lock_guard lock(context.mutex);
  const cudaError_t error = context.device->sticky != cudaSuccess ? context.device->sticky : thread_error;
  if (clear) thread_error = cudaSuccess;
  return error;
}

void under_lock(const std::function<void(Context&)>& body) {
  Context& context = Context::get();
  const std::lock_guard lock(context.mutex);
  body(context);
}

}  // namespace emulator::runtime

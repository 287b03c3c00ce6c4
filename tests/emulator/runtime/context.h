// The one emulated device of a process, and the frame every call of the runtime runs in.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "emulator/runtime/allocations.h"
#include "emulator/runtime/device_model.h"
#include "emulator/runtime/failure.h"
#include "emulator/runtime/handles.h"
#include "emulator/runtime/registry.h"
#include "emulator/runtime/streams.h"

namespace emulator::runtime {

struct Settings {
  uint64_t seed = 0;
  int num_threads = 1;
  size_t memory_limit = size_t{16} << 30;
  int compute_capability = 80;
};

/// What a reset forgets.
struct Device {
  explicit Device(const Settings& settings) : allocations(settings.memory_limit), streams(settings.seed) {}

  Allocations allocations;
  Streams streams;
  Handles<Graph> graphs, graph_execs;
  std::map<const Kernel*, size_t> dynamic_shared;  // bytes that cudaFuncSetAttribute allows a kernel
  cudaError_t sticky = cudaSuccess;                // after it every call fails alike, and nothing queued runs
};

struct Context {
  static Context& get();
  void reset_device();

  std::recursive_mutex mutex;  // held by every call
  Registry registry;
  Settings settings;
  std::unique_ptr<Device> device;
  std::map<std::string, std::shared_ptr<const Module>> replacements;  // by kernel; see emulator_replace_kernel
  void add_counters(std::string json);

  std::deque<std::string> report;           // see emulator_take_report
  std::deque<std::string> launch_counters;  // a JSON object per launch
};

/// Runs a call under the lock, turns what it throws into an error code, and remembers that for cudaGetLastError. A
/// device that a kernel broke answers every call with the same code.
cudaError_t call(const char* name, const std::function<void(Context&, Device&)>& body);

/// The thread's last error; cleared, unless it is sticky, if asked to.
cudaError_t last_error(bool clear);

/// Bookkeeping that the program never sees fail, such as registration.
void under_lock(const std::function<void(Context&)>& body);

}  // namespace emulator::runtime

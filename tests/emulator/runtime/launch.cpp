#include "emulator/runtime/launch.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "emulator/runtime/counters.h"

namespace emulator::runtime {
namespace {

const DeviceModel& model_of(const Context& context) { return *device_model(context.settings.compute_capability); }

const KernelInfo& info_of(Context& context, const Kernel& kernel) {
  const KernelInfo* info = kernel.binary->module(context.settings.compute_capability).find(kernel.name);
  if (info == nullptr) throw Failure{cudaErrorInvalidDeviceFunction, "the PTX has no kernel " + kernel.name};
  return *info;
}

Dim3 dim3_of(dim3 d) { return {d.x, d.y, d.z}; }

void check_shape(const std::string& kernel, dim3 grid, dim3 block, int max_threads) {
  const auto refuse = [&](cudaError_t code, const std::string& what) { throw Failure{code, kernel + ": " + what}; };
  const uint64_t threads = dim3_of(block).count();
  if (threads == 0 || dim3_of(grid).count() == 0) refuse(cudaErrorInvalidConfiguration, "an empty grid or block");
  if (grid.x > static_cast<unsigned>(std::numeric_limits<int>::max()) || grid.y > kMaxGridHeight ||
      grid.z > kMaxGridHeight) {
    refuse(cudaErrorInvalidConfiguration, "a grid dimension is too large");
  }
  if (threads > kMaxThreadsPerBlock || block.z > kMaxBlockDepth) {
    refuse(cudaErrorInvalidConfiguration, "a block of " + std::to_string(threads) + " threads");
  }
  if (threads > static_cast<uint64_t>(max_threads)) {
    refuse(cudaErrorInvalidValue, "a block of " + std::to_string(threads) + " threads, and its launch bounds say " +
                                      std::to_string(max_threads));
  }
}

/// Packed as the kernel declares its parameters: (pointer, int) lies at offsets 0 and 8.
std::vector<std::byte> parameter_block(const KernelInfo& info, void** arguments) {
  std::vector<std::byte> block(info.parameter_bytes());
  for (size_t i = 0; i < info.parameters.size(); ++i) {
    const Parameter& parameter = info.parameters[i];
    std::memcpy(block.data() + parameter.offset, arguments[i], parameter.size);
  }
  return block;
}

/// The error a real device would stop with. It finds bad addresses and nothing else of what the emulator finds; a race
/// or a read of poison becomes a launch failure, so that no test goes on with wrong numbers.
cudaError_t code_of(const Report& report) {
  const auto any = [&](const char* words) {
    return std::any_of(report.errors.begin(), report.errors.end(),
                       [&](const std::string& error) { return error.find(words) != std::string::npos; });
  };
  if (any("out of bounds")) return cudaErrorIllegalAddress;
  if (any("misaligned access")) return cudaErrorMisalignedAddress;
  return cudaErrorLaunchFailure;
}

/// The kernel's own module, or that which a test has put in its place.
std::shared_ptr<const Module> module_to_run(Context& context, const Kernel& kernel) {
  const auto replaced = context.replacements.find(kernel.name);
  if (replaced != context.replacements.end()) return replaced->second;
  const Module& own = kernel.binary->module(context.settings.compute_capability);
  return {std::shared_ptr<const Module>(), &own};  // owned by its binary, which keeps it
}

struct QueuedLaunch {
  std::shared_ptr<const Module> module;
  std::string kernel;
  LaunchConfig config;
  std::vector<std::byte> parameters;

  void operator()() const {
    Context& context = Context::get();
    const Report report = launch(*module, kernel, config, parameters.data(), context.device->allocations.memory());
    context.add_counters(counters_json(kernel, config, report.counters));
    if (report.errors.empty()) return;
    for (const std::string& error : report.errors) context.report.push_back(kernel + ": " + error);
    const cudaError_t code = code_of(report);
    context.device->sticky = code;
    throw Failure{code, ""};
  }
};

}  // namespace

KernelLimits limits_of(Context& context, Device& device, const Kernel& kernel) {
  const KernelInfo& info = info_of(context, kernel);
  const auto allowed = device.dynamic_shared.find(&kernel);
  const size_t by_default = kSharedByDefault - std::min(kSharedByDefault, info.static_shared);
  return {info.static_shared, allowed == device.dynamic_shared.end() ? by_default : allowed->second,
          info.max_threads == 0 ? kMaxThreadsPerBlock : static_cast<int>(info.max_threads)};
}

void opt_in(Context& context, Device& device, const Kernel& kernel, int bytes) {
  const size_t most = model_of(context).shared_opt_in();
  const size_t fixed = info_of(context, kernel).static_shared;
  if (bytes < 0 || fixed + static_cast<size_t>(bytes) > most) {
    throw Failure{cudaErrorInvalidValue, kernel.name + ": " + std::to_string(bytes) + " bytes of dynamic and " +
                                             std::to_string(fixed) + " of static shared memory, expected at most " +
                                             std::to_string(most)};
  }
  device.dynamic_shared[&kernel] = static_cast<size_t>(bytes);
}

void launch_kernel(Context& context, Device& device, const Kernel& kernel, dim3 grid, dim3 block, void** arguments,
                   size_t dynamic_shared, cudaStream_t stream) {
  const KernelInfo& info = info_of(context, kernel);
  const KernelLimits limits = limits_of(context, device, kernel);
  check_shape(kernel.name, grid, block, limits.threads);
  if (dynamic_shared > limits.dynamic_shared) {
    throw Failure{cudaErrorInvalidValue, kernel.name + ": " + std::to_string(dynamic_shared) +
                                             " bytes of dynamic shared memory, expected at most " +
                                             std::to_string(limits.dynamic_shared) + " (see cudaFuncSetAttribute)"};
  }
  LaunchConfig config;
  config.grid = dim3_of(grid);
  config.block = dim3_of(block);
  config.dynamic_shared = dynamic_shared;
  config.seed = context.settings.seed;
  config.num_threads = context.settings.num_threads;
  device.streams.enqueue(device.streams.stream(stream), QueuedLaunch{module_to_run(context, kernel), kernel.name,
                                                                     config, parameter_block(info, arguments)});
}

int resident_blocks(Context& context, Device& device, const Kernel& kernel, int threads, size_t dynamic_shared) {
  constexpr size_t kSharedGranularity = 128;  // bytes; shared memory is handed out in such pieces
  const DeviceModel& model = model_of(context);
  const KernelLimits limits = limits_of(context, device, kernel);
  require(threads > 0, cudaErrorInvalidValue, "a block without threads");
  if (threads > limits.threads || dynamic_shared > limits.dynamic_shared) return 0;
  const size_t used = limits.static_shared + dynamic_shared + kSharedReserved;
  const size_t rounded = (used + kSharedGranularity - 1) / kSharedGranularity * kSharedGranularity;
  const int warps = (threads + 31) / 32;
  return std::min({model.threads_per_multiprocessor / 32 / warps, model.blocks_per_multiprocessor,
                   static_cast<int>(model.shared_per_multiprocessor / rounded)});
}

}  // namespace emulator::runtime

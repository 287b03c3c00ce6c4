#include "emulator/runtime/registry.h"

#include <algorithm>
#include <utility>

#include "emulator/runtime/failure.h"

namespace emulator::runtime {

const PtxImage& Binary::image(int compute_capability) {
  if (images_.empty()) images_ = ptx_images(wrapper_);
  const PtxImage* image = best_image(images_, compute_capability);
  if (image == nullptr) {
    throw Failure{cudaErrorNoKernelImageForDevice,
                  "no PTX in the fat binary runs on sm_" + std::to_string(compute_capability)};
  }
  return *image;
}

int Binary::architecture(int compute_capability) { return image(compute_capability).architecture; }

const Module& Binary::module(int compute_capability) {
  const PtxImage& chosen = image(compute_capability);
  std::shared_ptr<const Module>& module = modules_[chosen.architecture];
  if (module == nullptr) {
    try {
      module = Module::parse(chosen.text);
    } catch (const ParseError& error) {
      throw Failure{cudaErrorInvalidPtx, error.what()};
    }
  }
  return *module;
}

std::vector<const Module*> Binary::modules() const {
  std::vector<const Module*> modules;
  for (const auto& [architecture, module] : modules_) {
    if (module != nullptr) modules.push_back(module.get());
  }
  return modules;
}

Binary* Registry::add_binary(const void* wrapper) {
  return binaries_.emplace_back(std::make_unique<Binary>(wrapper)).get();
}

void Registry::remove_binary(Binary* binary) {
  std::erase_if(kernels_, [&](const auto& entry) { return entry.second.binary == binary; });
  std::erase_if(variables_, [&](const auto& entry) { return entry.second.binary == binary; });
}

void Registry::add_kernel(const void* host_function, Kernel kernel) {
  kernels_.insert_or_assign(host_function, std::move(kernel));
}

void Registry::add_variable(const void* host_variable, Variable variable) {
  variables_.insert_or_assign(host_variable, std::move(variable));
}

const Kernel& Registry::kernel(const void* function) const {
  const auto by_host_function = kernels_.find(function);
  if (by_host_function != kernels_.end()) return by_host_function->second;
  for (const auto& [host_function, kernel] : kernels_) {
    if (&kernel == function) return kernel;  // a handle
  }
  throw Failure{cudaErrorInvalidDeviceFunction, "a launch or query of a function that is no kernel"};
}

const Kernel* Registry::find(const std::string& name) const {
  const auto found =
      std::find_if(kernels_.begin(), kernels_.end(), [&](const auto& entry) { return entry.second.name == name; });
  return found == kernels_.end() ? nullptr : &found->second;
}

const Variable& Registry::variable(const void* host_variable) const {
  const auto found = variables_.find(host_variable);
  if (found == variables_.end()) throw Failure{cudaErrorInvalidSymbol, "no __device__ or __constant__ variable"};
  return found->second;
}

}  // namespace emulator::runtime

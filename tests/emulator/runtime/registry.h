// The kernels and variables that nvcc's host code registers before main, by the address of their host twin.
//
// Registration runs before other static constructors, so it only takes notes: PTX is looked for and parsed when a
// kernel or variable is first used. Registrations outlive every reset of the device.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "emulator/machine/machine.h"
#include "emulator/runtime/fat_binary.h"

namespace emulator::runtime {

/// One translation unit's fat binary.
class Binary {
 public:
  explicit Binary(const void* wrapper) : wrapper_(wrapper) {}

  /// The module for a device; parsed once for each image. Throws Failure.
  const Module& module(int compute_capability);
  int architecture(int compute_capability);  // of the PTX that the device runs
  const std::string& ptx(int compute_capability) { return image(compute_capability).text; }
  std::vector<const Module*> modules() const;

 private:
  const PtxImage& image(int compute_capability);

  const void* wrapper_;
  std::vector<PtxImage> images_;
  std::map<int, std::shared_ptr<const Module>> modules_;  // by architecture
};

struct Kernel {
  Binary* binary;
  std::string name;
};

struct Variable {
  Binary* binary;
  std::string name;
  size_t size;
};

class Registry {
 public:
  Binary* add_binary(const void* wrapper);
  /// Its kernels and variables are gone. Its modules stay: queued work and graphs may still run them.
  void remove_binary(Binary*);
  void add_kernel(const void* host_function, Kernel);
  void add_variable(const void* host_variable, Variable);

  /// By host function, or by the handle that cudaGetKernel gave. Throws Failure with cudaErrorInvalidDeviceFunction.
  const Kernel& kernel(const void* function) const;
  const Kernel* find(const std::string& name) const;          // null if there is none
  const Variable& variable(const void* host_variable) const;  // throws Failure with cudaErrorInvalidSymbol

 private:
  std::vector<std::unique_ptr<Binary>> binaries_;
  std::map<const void*, Kernel> kernels_;
  std::map<const void*, Variable> variables_;
};

}  // namespace emulator::runtime

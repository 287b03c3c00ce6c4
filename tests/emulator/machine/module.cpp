// A module: parsed, and every kernel of it decoded, so that what the machine does not know shows at once.
#include "emulator/machine/decoder.h"

#include <cstring>

namespace emulator {

Module::Module() : contents_(std::make_unique<ModuleContents>()) {}
Module::~Module() = default;

std::shared_ptr<const Module> Module::parse(const std::string& ptx) {
  std::shared_ptr<Module> module(new Module());
  ModuleContents& contents = *module->contents_;
  contents.syntax = ptx::parse(ptx);
  for (const auto& [name, function] : contents.syntax.functions) {
    if (function.is_entry) Decoder(contents.syntax, function, contents.programs[name]).run();
  }
  return module;
}

const KernelInfo* Module::find(const std::string& kernel) const {
  const auto found = contents_->programs.find(kernel);
  return found == contents_->programs.end() ? nullptr : &found->second.info;
}

std::vector<std::string> Module::kernels() const {
  std::vector<std::string> names;
  for (const auto& [name, program] : contents_->programs) names.push_back(name);
  return names;
}

std::vector<VariableInfo> Module::variables() const {
  std::vector<VariableInfo> all;
  for (const auto& v : contents_->syntax.variables) {
    if (v.space == ptx::StateSpace::kShared) continue;
    all.push_back({v.name, v.size, v.alignment, v.space == ptx::StateSpace::kConst});
  }
  return all;
}

uint64_t DeviceMemory::variable(const Module& module, const std::string& name) {
  std::lock_guard lock(mutex_);
  auto& placed = variables_[&module];
  if (placed.empty()) {
    for (const auto& v : module.contents().syntax.variables) {
      if (v.space == ptx::StateSpace::kShared) continue;
      const uint64_t address = allocate_locked(v.size);
      std::memset(reinterpret_cast<void*>(address), 0, v.size);
      if (!v.contents.empty()) std::memcpy(reinterpret_cast<void*>(address), v.contents.data(), v.contents.size());
      placed[v.name] = address;
    }
  }
  const auto found = placed.find(name);
  if (found == placed.end()) throw MemoryFault("the module has no variable " + name);
  return found->second;
}

void DeviceMemory::forget(const Module& module) {
  std::map<std::string, uint64_t> placed;
  {
    std::lock_guard lock(mutex_);
    const auto found = variables_.find(&module);
    if (found == variables_.end()) return;
    placed = std::move(found->second);
    variables_.erase(found);
  }
  for (const auto& [name, address] : placed) release(address);
}

}  // namespace emulator

#include "emulator/runtime/control.h"

#include <algorithm>
#include <deque>
#include <string>

#include "emulator/runtime/context.h"

using namespace emulator::runtime;

namespace {

/// Writes the lines and forgets them, if they fit; see control.h.
size_t take(std::deque<std::string>& lines, const char* open, const char* between, const char* close, char* to,
            size_t size) {
  std::string text = open;
  for (size_t i = 0; i < lines.size(); ++i) text += (i == 0 ? "" : between) + lines[i];
  text += close;
  if (text.size() < size) {
    std::copy_n(text.c_str(), text.size() + 1, to);
    lines.clear();
  }
  return text.size();
}

}  // namespace

extern "C" {

void emulator_reset() {
  under_lock([](Context& context) {
    context.settings = {};
    context.replacements.clear();
    context.report.clear();
    context.launch_counters.clear();
    context.reset_device();
  });
}

void emulator_set_seed(uint64_t seed) {
  under_lock([&](Context& context) {
    context.settings.seed = seed;
    context.device->streams.random().seed(seed);
  });
}

void emulator_set_num_threads(int num_threads) {
  under_lock([&](Context& context) { context.settings.num_threads = std::max(num_threads, 1); });
}

void emulator_set_memory_limit(size_t bytes) {
  under_lock([&](Context& context) {
    context.settings.memory_limit = bytes;
    context.device->allocations.set_limit(bytes);
  });
}

int emulator_set_compute_capability(int capability) {
  if (device_model(capability) == nullptr) return 1;
  under_lock([&](Context& context) { context.settings.compute_capability = capability; });
  return 0;
}

size_t emulator_take_report(char* text, size_t size) {
  size_t length = 0;
  under_lock([&](Context& context) { length = take(context.report, "", "\n", "", text, size); });
  return length;
}

size_t emulator_kernel_ptx(const char* kernel, char* text, size_t size) {
  size_t length = 0;
  under_lock([&](Context& context) {
    const Kernel* found = context.registry.find(kernel);
    if (found == nullptr) return;
    const std::string& ptx = found->binary->ptx(context.settings.compute_capability);
    length = ptx.size();
    if (length < size) std::copy_n(ptx.c_str(), length + 1, text);
  });
  return length;
}

int emulator_replace_kernel(const char* kernel, const char* ptx) {
  int result = 0;
  under_lock([&](Context& context) {
    if (ptx == nullptr) {
      context.replacements.erase(kernel);
      return;
    }
    try {
      const auto module = emulator::Module::parse(ptx);
      if (module->find(kernel) == nullptr) throw emulator::ParseError("the PTX has no kernel " + std::string(kernel));
      context.replacements[kernel] = module;
    } catch (const emulator::ParseError& error) {
      context.report.push_back(error.what());
      result = 1;
    }
  });
  return result;
}

size_t emulator_take_counters(char* json, size_t size) {
  size_t length = 0;
  under_lock([&](Context& context) { length = take(context.launch_counters, "[", ", ", "]", json, size); });
  return length;
}

}  // extern "C"

// Launches: what a driver would check, blocks spread over host threads, and the findings of all put together.
#include <algorithm>
#include <atomic>
#include <exception>
#include <numeric>
#include <random>
#include <thread>

#include "emulator/machine/warp.h"

namespace emulator {
namespace {

constexpr size_t kMostShared = 227 * 1024;  // per block, on the largest of the targets

void check(const Program& program, const LaunchConfig& config) {
  const std::string& name = program.info.name;
  const uint64_t threads = config.block.count();
  if (threads == 0 || config.grid.count() == 0) throw LaunchError(name + ": an empty grid or block");
  if (threads > 1024) throw LaunchError(name + ": a block of " + std::to_string(threads) + " threads; 1024 at most");
  if (program.info.max_threads && threads > program.info.max_threads) {
    throw LaunchError(name + ": a block of " + std::to_string(threads) + " threads; the kernel was compiled for " +
                      std::to_string(program.info.max_threads) + " at most");
  }
  const size_t shared = program.dynamic_shared + config.dynamic_shared;
  if (shared > kMostShared) throw LaunchError(name + ": " + std::to_string(shared) + " bytes of shared memory");
}

/// A launch's blocks in an order that the seed fixes.
std::vector<uint64_t> block_order(const LaunchConfig& config) {
  std::vector<uint64_t> order(config.grid.count());
  std::iota(order.begin(), order.end(), uint64_t{0});
  std::mt19937_64 random(config.seed);
  std::shuffle(order.begin(), order.end(), random);
  return order;
}

void run_blocks(const Launch& launch, const std::vector<uint64_t>& order, std::vector<Findings>& findings) {
  std::atomic<size_t> next{0};
  const auto work = [&](Findings& found) {
    Block block(launch, found);
    for (size_t i = next++; i < order.size(); i = next++) block.run(order[i]);
  };
  std::vector<std::exception_ptr> failures(findings.size());
  std::vector<std::thread> threads;
  for (size_t t = 1; t < findings.size(); ++t) {
    threads.emplace_back([&, t] {
      try {
        work(findings[t]);
      } catch (...) {
        failures[t] = std::current_exception();
      }
    });
  }
  try {
    work(findings[0]);
  } catch (...) {
    failures[0] = std::current_exception();
  }
  for (auto& thread : threads) thread.join();
  for (const auto& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

Report merge(const std::vector<Findings>& findings) {
  Report report;
  std::map<std::pair<int, std::string>, Findings::Entry> all;
  for (const Findings& part : findings) {
    report.counters += part.counters;
    for (const auto& [key, entry] : part.entries) {
      Findings::Entry& total = all[key];
      if (total.count == 0 || entry.block < total.block) {
        total.first = entry.first;
        total.block = entry.block;
      }
      total.count += entry.count;
    }
  }
  for (const auto& [key, entry] : all) {
    const std::string times = entry.count > 1 ? "\n    (" + std::to_string(entry.count) + " times)" : "";
    report.errors.push_back(entry.first + times);
  }
  return report;
}

}  // namespace

Report launch(const Module& module, const std::string& kernel, const LaunchConfig& config, const void* parameter_block,
              DeviceMemory& memory) {
  const auto found = module.contents().programs.find(kernel);
  if (found == module.contents().programs.end()) throw LaunchError("the module has no kernel " + kernel);
  const Program& program = found->second;
  check(program, config);
  Launch launch;
  launch.module = &module.contents();
  launch.program = &program;
  launch.config = &config;
  launch.parameters = static_cast<const unsigned char*>(parameter_block);
  launch.shared_bytes = static_cast<uint32_t>(program.dynamic_shared + config.dynamic_shared);
  for (const auto& slot : program.variables) launch.variables[slot.name] = memory.variable(module, slot.name);
  launch.ranges = memory.ranges();
  const size_t threads = std::clamp<uint64_t>(config.num_threads, 1, config.grid.count());
  std::vector<Findings> findings(threads);
  run_blocks(launch, block_order(config), findings);
  return merge(findings);
}

}  // namespace emulator

// The state of a warp and of its block. Every lane has its own pc; the lanes of the lowest pc run together.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "emulator/machine/program.h"
#include "emulator/machine/shared_watch.h"

namespace emulator {

struct Block;

/// One cp.async of a warp; its bytes land when their lane waits.
struct PendingCopy {
  uint32_t remaining = 0;  // lanes that have not landed
  uint32_t bytes = 0;
  uint32_t group[32];   // that each lane's copy belongs to
  uint32_t filled[32];  // bytes that come from global memory; zeros make up the rest
  uint32_t shared[32];
  const unsigned char* global[32];
};

struct Warp {
  unsigned char* registers = nullptr;
  uint32_t mask = 0;  // lanes the current instruction runs for
  uint32_t pc = 0;    // of `group`, the lanes that run together
  uint32_t group = 0;
  uint32_t merge_pc = UINT32_MAX;  // the lowest pc of the other lanes
  Block* block = nullptr;
  uint32_t index = 0;

  uint32_t exists = 0;   // lanes the block has
  uint32_t alive = 0;    // those that have not exited
  uint32_t carry = 0;    // a flag per lane, for sums wider than a register
  uint32_t parked = 0;   // waiting for other lanes of the warp
  uint32_t blocked = 0;  // waiting at a barrier
  uint32_t lane_pc[32] = {};
  uint8_t lane_barrier[32] = {};
  const Instruction* barrier = nullptr;  // the one that the blocked lanes wait at

  uint32_t committed[32] = {};  // cp.async groups, per lane
  std::vector<PendingCopy> pending;

  uint32_t running() const { return alive & ~parked & ~blocked; }
  template <class T>
  T* lanes(uint32_t offset) {
    return reinterpret_cast<T*>(registers + offset);
  }
  uint32_t& predicate(uint32_t offset) { return *lanes<uint32_t>(offset); }
};

struct Barrier {
  uint32_t arrived[32] = {};  // lanes, per warp
  uint32_t expected = 0;      // threads; 0: all that are alive
  bool in_use = false;
  uint32_t votes = 0, voters = 0;  // of bar.red
  VectorClock clock{};
};

/// What the blocks of a launch share, and what they report to. One per host thread; merged at the end.
struct Findings {
  struct Entry {
    std::string first;
    uint64_t count = 0;
    uint64_t block = 0;
  };
  std::map<std::pair<int, std::string>, Entry> entries;  // by line and problem
  Counters counters;
};

struct Launch {
  const ModuleContents* module = nullptr;
  const Program* program = nullptr;
  const LaunchConfig* config = nullptr;
  const unsigned char* parameters = nullptr;
  std::vector<DeviceMemory::Range> ranges;
  std::map<std::string, uint64_t> variables;
  uint32_t shared_bytes = 0;
};

struct Block {
  Block(const Launch& launch, Findings& findings);
  void run(uint64_t number);

  /// The first of each kind of error at an instruction is kept with its detail; the others are counted.
  void report(const Warp& warp, const Instruction& i, int lane, const char* problem, const std::string& detail);
  std::string thread_name(const Warp& warp, int lane) const;

  const Launch& launch;
  const Program& program;
  Findings& findings;
  Counters& counters;
  uint64_t number = 0, steps = 0;
  Dim3 place;
  std::vector<Warp> warps;
  std::vector<unsigned char> register_file, local_memory;
  std::unique_ptr<unsigned char[], void (*)(void*)> shared;
  SharedWatch watch;
  Barrier barriers[16];
  std::vector<uint32_t> range_cache;  // per instruction: the allocation it touched last

 private:
  void start();
  void fill_registers(Warp& warp);
  void fill_special(Warp& warp, const Program::SpecialSlot& slot);
  bool release_parked();
  void report_deadlock();
  std::mt19937_64 random_;
};

/// Runs up to `steps` instructions of the warp, less if it blocks or ends.
void run_warp(Warp& warp, int steps);
/// Lets go of the barriers that have all their threads; called when lanes arrive and when lanes exit.
void complete_barriers(Block& block);

inline void count(Warp& warp, const Instruction& i) {
  ++warp.block->counters.instructions[static_cast<size_t>(i.kind)];
}

}  // namespace emulator

// A block: its memory, its warps in random turns, and the end, which may be a deadlock.
#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <new>

#include "emulator/machine/lanes.h"
#include "emulator/machine/warp.h"

namespace emulator {
namespace {

constexpr size_t kSharedAlignment = 1024;  // as strict as any access asks for
constexpr int kLongestTurn = 256;          // instructions; turns are of random length, so that warps meet in many ways

unsigned char* allocate_shared(size_t bytes) {
  const size_t padded = (bytes + kSharedAlignment) / kSharedAlignment * kSharedAlignment;
  auto* memory = static_cast<unsigned char*>(std::aligned_alloc(kSharedAlignment, padded));
  if (!memory) throw std::bad_alloc();
  return memory;
}

uint32_t lanes_of(uint64_t threads, uint32_t warp) {
  const uint64_t rest = threads - uint64_t{warp} * 32;
  return rest >= 32 ? UINT32_MAX : (1u << rest) - 1;
}

}  // namespace

Block::Block(const Launch& l, Findings& f)
    : launch(l),
      program(*l.program),
      findings(f),
      counters(f.counters),
      shared(allocate_shared(l.shared_bytes), std::free) {
  const uint64_t threads = launch.config->block.count();
  warps.resize((threads + 31) / 32);
  register_file.assign(warps.size() * size_t{program.register_bytes} + 64, 0xff);
  local_memory.resize(size_t{program.local_bytes} * warps.size() * 32);
  range_cache.assign(program.code.size(), UINT32_MAX);
  auto* registers = register_file.data();
  registers += (64 - reinterpret_cast<uintptr_t>(registers) % 64) % 64;
  for (uint32_t index = 0; index < warps.size(); ++index) {
    Warp& w = warps[index];
    w.block = this;
    w.index = index;
    w.exists = lanes_of(threads, index);
    w.registers = registers + index * size_t{program.register_bytes};
  }
}

void Block::start() {
  const Dim3 grid = launch.config->grid;
  place = {static_cast<uint32_t>(number % grid.x), static_cast<uint32_t>(number / grid.x % grid.y),
           static_cast<uint32_t>(number / grid.x / grid.y)};
  random_.seed(launch.config->seed * 0x9e3779b97f4a7c15u + number);
  steps = 0;
  std::memset(shared.get(), 0xff, launch.shared_bytes);
  std::fill(local_memory.begin(), local_memory.end(), 0xff);
  watch.reset(launch.shared_bytes, static_cast<uint32_t>(warps.size()), program.granule_shift);
  std::fill(std::begin(barriers), std::end(barriers), Barrier{});
  for (Warp& w : warps) {
    w.alive = w.exists;
    w.group = w.exists;
    w.pc = w.parked = w.blocked = 0;
    w.merge_pc = UINT32_MAX;
    w.pending.clear();
    std::fill_n(w.committed, 32, 0);
    fill_registers(w);
  }
}

void Block::fill_registers(Warp& w) {
  for (const auto& [offset, bits] : program.predicate_constants) w.predicate(offset) = bits;
  for (const auto& c : program.constants) {
    for (int l = 0; l < 32; ++l) std::memcpy(w.registers + c.offset + l * c.width, &c.bits, c.width);
  }
  for (const auto& v : program.variables) {
    std::fill_n(w.lanes<uint64_t>(v.offset), 32, launch.variables.at(v.name) + static_cast<uint64_t>(v.addend));
  }
  for (const auto& slot : program.specials) fill_special(w, slot);
}

void Block::fill_special(Warp& w, const Program::SpecialSlot& slot) {
  const Dim3 grid = launch.config->grid, size = launch.config->block;
  const auto value = [&](uint32_t lane) -> uint32_t {
    const uint32_t thread = w.index * 32 + lane;
    const uint32_t bit = 1u << lane;
    switch (slot.which) {
      case Special::kTidX:
        return thread % size.x;
      case Special::kTidY:
        return thread / size.x % size.y;
      case Special::kTidZ:
        return thread / size.x / size.y;
      case Special::kNtidX:
        return size.x;
      case Special::kNtidY:
        return size.y;
      case Special::kNtidZ:
        return size.z;
      case Special::kCtaidX:
        return place.x;
      case Special::kCtaidY:
        return place.y;
      case Special::kCtaidZ:
        return place.z;
      case Special::kNctaidX:
        return grid.x;
      case Special::kNctaidY:
        return grid.y;
      case Special::kNctaidZ:
        return grid.z;
      case Special::kLane:
        return lane;
      case Special::kWarp:
        return w.index;
      case Special::kNumWarps:
        return static_cast<uint32_t>(warps.size());
      case Special::kMaskEq:
        return bit;
      case Special::kMaskLe:
        return bit | (bit - 1);
      case Special::kMaskLt:
        return bit - 1;
      case Special::kMaskGe:
        return ~(bit - 1);
      case Special::kMaskGt:
        return ~(bit | (bit - 1));
      case Special::kDynamicShared:
        return static_cast<uint32_t>(launch.config->dynamic_shared);
      case Special::kTotalShared:
        return launch.shared_bytes;
      case Special::kZero:
        break;
    }
    return 0;
  };
  for (uint32_t l = 0; l < 32; ++l) w.lanes<uint32_t>(slot.offset)[l] = value(l);
}

void Block::run(uint64_t block_number) {
  number = block_number;
  start();
  std::vector<uint32_t> ready;
  while (true) {
    ready.clear();
    bool alive = false;
    for (const Warp& w : warps) {
      alive |= w.alive != 0;
      if (w.running()) ready.push_back(w.index);
    }
    if (!alive) return;
    if (ready.empty()) {
      if (release_parked()) continue;
      return report_deadlock();
    }
    if (steps > launch.config->max_steps) {
      Instruction none;
      return report(warps[ready[0]], none, 0, "the block does not end",
                    std::to_string(steps) + " instructions were run");
    }
    const uint64_t random = random_();
    run_warp(warps[ready[random % ready.size()]], static_cast<int>(1 + (random >> 32) % kLongestTurn));
  }
}

/// Lanes that wait for lanes of their warp which are stuck elsewhere will wait forever: report that, and go on without.
bool Block::release_parked() {
  bool released = false;
  for (Warp& w : warps) {
    while (w.parked) {
      const int first = std::countr_zero(w.parked);
      const uint32_t pc = w.lane_pc[first];
      const Instruction& i = program.code[pc];
      report(w, i, first, "lanes wait for lanes of their warp that never come", "");
      w.mask = 0;
      each_lane(w.parked, [&](int l) { w.mask |= static_cast<uint32_t>(w.lane_pc[l] == pc) << l; });
      i.run(w, i);
      each_lane(w.mask, [&](int l) { w.lane_pc[l] = pc + 1; });
      w.parked &= ~w.mask;
      w.group = 0;
      released = true;
    }
  }
  return released;
}

void Block::report_deadlock() {
  std::string dump;
  const Warp* stuck = nullptr;
  for (const Warp& w : warps) {
    if (!w.alive) {
      dump += "\n    warp " + std::to_string(w.index) + " has ended";
      continue;
    }
    if (!stuck) stuck = &w;
    const int lane = std::countr_zero(w.blocked);
    const Instruction& i = program.code[w.lane_pc[lane] - 1];
    const Barrier& barrier = barriers[w.lane_barrier[lane]];
    dump += "\n    warp " + std::to_string(w.index) + ": " + std::to_string(std::popcount(w.blocked)) +
            " lanes wait at barrier " + std::to_string(w.lane_barrier[lane]) + " for " +
            (barrier.expected ? std::to_string(barrier.expected) : "all") + " threads, line " + std::to_string(i.line);
  }
  Instruction none;
  report(*stuck, none, std::countr_zero(stuck->alive), "deadlock", dump);
}

std::string Block::thread_name(const Warp& w, int lane) const {
  const Dim3 size = launch.config->block;
  const uint32_t thread = w.index * 32 + lane;
  const auto triple = [](uint32_t x, uint32_t y, uint32_t z) {
    return "(" + std::to_string(x) + "," + std::to_string(y) + "," + std::to_string(z) + ")";
  };
  return "kernel " + program.info.name + ", block " + triple(place.x, place.y, place.z) + ", thread " +
         triple(thread % size.x, thread / size.x % size.y, thread / size.x / size.y);
}

void Block::report(const Warp& w, const Instruction& i, int lane, const char* problem, const std::string& detail) {
  Findings::Entry& entry = findings.entries[{i.line, problem}];
  if (entry.count++ > 0) return;
  entry.block = number;
  entry.first = std::string(problem) + ": " + thread_name(w, lane);
  if (!detail.empty()) entry.first += ": " + detail;
  if (i.line > 0) {
    std::string text = launch.module->syntax.lines[i.line - 1];
    text.erase(0, text.find_first_not_of(" \t"));
    entry.first += "\n    PTX line " + std::to_string(i.line) + ": " + text;
  }
}

}  // namespace emulator

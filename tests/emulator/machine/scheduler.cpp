// A warp's instructions. The lanes that stand at the lowest pc run together, until they reach the pc of others, part at
// a branch, wait, or end: so lanes that parted meet again where their paths join.
#include <algorithm>
#include <bit>

#include "emulator/machine/lanes.h"
#include "emulator/machine/warp.h"

namespace emulator {
namespace {

/// Remembers where the group stands, and chooses the lanes that go on. False if none can.
bool regroup(Warp& w) {
  each_lane(w.group, [&](int l) { w.lane_pc[l] = w.pc; });
  w.group = 0;
  w.pc = UINT32_MAX;
  w.merge_pc = UINT32_MAX;
  const uint32_t running = w.running();
  each_lane(running, [&](int l) { w.pc = std::min(w.pc, w.lane_pc[l]); });
  each_lane(running, [&](int l) {
    if (w.lane_pc[l] == w.pc) {
      w.group |= 1u << l;
    } else {
      w.merge_pc = std::min(w.merge_pc, w.lane_pc[l]);
    }
  });
  return w.group != 0;
}

void run_aligned(Warp& w, const Instruction& i) {
  if (w.mask != w.exists) {
    w.block->report(
        w, i, std::countr_zero(w.mask), "an .aligned instruction on a diverged warp",
        std::to_string(std::popcount(w.mask)) + " of " + std::to_string(std::popcount(w.exists)) + " lanes take part");
  }
  i.run(w, i);
  ++w.pc;
}

/// Runs once all lanes of the member mask are there; until then, those that are wait. True if the group changed.
/// Lanes that name other members than the first lane does stay behind: they run it among themselves afterwards.
bool run_converging(Warp& w, const Instruction& i) {
  const int first = std::countr_zero(w.mask);
  const uint32_t* named = w.lanes<uint32_t>(i.b[0]);
  const uint32_t members = named[first];
  uint32_t agree = 0;
  for (int l = 0; l < 32; ++l) agree |= static_cast<uint32_t>(named[l] == members) << l;
  const uint32_t behind = w.mask & ~agree;
  each_lane(behind, [&](int l) { w.lane_pc[l] = w.pc; });
  w.group &= ~behind;
  w.mask &= agree;
  if (w.mask & ~members) {
    w.block->report(w, i, std::countr_zero(w.mask & ~members), "a lane that its own member mask leaves out", "");
  }
  uint32_t here = w.mask;
  each_lane(w.parked & agree, [&](int l) { here |= static_cast<uint32_t>(w.lane_pc[l] == w.pc) << l; });
  const uint32_t missing = members & w.exists & ~here;
  if (missing & w.alive) {
    each_lane(w.mask, [&](int l) { w.lane_pc[l] = w.pc; });
    w.parked |= w.mask;
    w.group &= ~w.mask;
    if (w.group) ++w.pc;  // lanes whose guard is false do not wait
    return true;
  }
  if (missing) {
    w.block->report(w, i, first, "a member mask that names lanes which have ended", "");
  }
  const bool changed = behind || here != w.mask;
  w.parked &= ~here;
  w.group |= here;
  w.mask = here;
  i.run(w, i);
  ++w.pc;
  return changed;
}

void run_exit(Warp& w) {
  w.alive &= ~w.mask;
  w.group &= ~w.mask;
  if (w.group) ++w.pc;
  complete_barriers(*w.block);
}

/// True if the lanes parted.
bool run_branch(Warp& w, const Instruction& i) {
  if (w.mask == w.group) {
    w.pc = i.target;
    return false;
  }
  const uint32_t taken = w.mask;
  w.group &= ~taken;
  each_lane(taken, [&](int l) { w.lane_pc[l] = i.target; });
  ++w.pc;
  return true;
}

void run_indexed_branch(Warp& w, const Instruction& i) {
  const auto& table = w.block->program.branch_tables[i.target];
  const uint32_t* index = w.lanes<uint32_t>(i.a[0]);
  w.group &= ~w.mask;
  each_lane(w.mask, [&](int l) {
    const bool inside = index[l] < table.size();
    if (!inside) w.block->report(w, i, l, "brx.idx beyond its table", std::to_string(index[l]));
    w.lane_pc[l] = table[inside ? index[l] : 0];
  });
  ++w.pc;
}

void run_barrier(Warp& w, const Instruction& i) {
  if (i.count && w.mask != w.alive) {
    w.block->report(w, i, std::countr_zero(w.mask), "an .aligned instruction on a diverged warp",
                    "a barrier that not all lanes of the warp reach together");
  }
  i.run(w, i);
  each_lane(w.mask, [&](int l) { w.lane_pc[l] = w.pc + 1; });
  if (i.mode == 0) w.group &= ~w.mask;
  ++w.pc;
  complete_barriers(*w.block);
}

/// Runs one instruction that does more than follow the one before. True if the group changed.
bool run_flow(Warp& w, const Instruction& i) {
  switch (i.flow) {
    case Flow::kAligned:
      run_aligned(w, i);
      return false;
    case Flow::kConverge:
      return run_converging(w, i);
    case Flow::kBranch:
      return run_branch(w, i);
    case Flow::kBranchIndexed:
      run_indexed_branch(w, i);
      return true;
    case Flow::kBarrier:
      run_barrier(w, i);
      return true;
    case Flow::kTrap:
      w.block->report(w, i, std::countr_zero(w.mask), "trap", "the kernel stopped itself");
      [[fallthrough]];
    default:
      run_exit(w);
      return true;
  }
}

}  // namespace

void run_warp(Warp& w, int steps) {
  const Instruction* code = w.block->program.code.data();
  for (; steps > 0; --steps) {
    if ((w.pc >= w.merge_pc || w.group == 0) && !regroup(w)) return;
    const Instruction& i = code[w.pc];
    w.mask = w.group;
    if (i.guard != kNone) {
      const uint32_t p = w.predicate(i.guard);
      w.mask &= i.guard_negated ? ~p : p;
    }
    ++w.block->steps;
    if (w.mask == 0) {
      ++w.pc;
      continue;
    }
    count(w, i);
    if (i.flow == Flow::kNext) {
      i.run(w, i);
      ++w.pc;
    } else if (run_flow(w, i)) {
      w.merge_pc = 0;  // regroup, in this turn or in the next
    }
  }
}

}  // namespace emulator

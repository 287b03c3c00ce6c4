#include "emulator/machine/access.h"

#include <algorithm>
#include <cstdio>

#include "emulator/machine/lanes.h"

namespace emulator {
namespace {

using ptx::StateSpace;

std::string hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

const char* verb(Access access) {
  return access == Access::kRead ? "read" : access == Access::kAtomic ? "atomic access" : "write";
}

std::string describe(Access access, uint32_t bytes, uint64_t address) {
  return std::string(verb(access)) + " of " + std::to_string(bytes) + " bytes at " + hex(address);
}

/// Lanes whose address is aligned as the access asks for, mostly to its size; the others are reported.
uint32_t aligned_lanes(Warp& w, const Instruction& i, const uint64_t (&address)[32], uint32_t mask, uint32_t bytes,
                       Access access, uint32_t alignment) {
  uint64_t low_bits = 0;
  for (int l = 0; l < 32; ++l) low_bits |= (mask >> l & 1) ? address[l] : 0;
  if (!(low_bits & (alignment - 1))) return mask;
  uint32_t good = mask;
  each_lane(mask, [&](int l) {
    if (!(address[l] & (alignment - 1))) return;
    good &= ~(1u << l);
    w.block->report(w, i, l, "misaligned access", describe(access, bytes, address[l]));
  });
  return good;
}

/// A warp's access to shared memory takes one wavefront for each 128 bytes, if no bank is asked for two words in one of
/// them. 8-byte accesses go half a warp at a time, 16-byte accesses a quarter.
void count_wavefronts(Counters& counters, const uint64_t (&address)[32], uint32_t mask, uint32_t bytes) {
  const uint32_t words = std::max(1u, bytes / 4), lanes_per_phase = 32 / words;
  for (uint32_t first = 0; first < 32; first += lanes_per_phase) {
    const uint32_t phase = lanes_per_phase == 32 ? mask : mask >> first & ((1u << lanes_per_phase) - 1);
    if (!phase) continue;
    uint32_t banks = 0, asked = 0;
    each_lane(phase, [&](int l) {
      const uint32_t bank = address[first + l] >> 2 & 31;
      banks |= ((words == 4 ? 0xfu : words == 2 ? 3u : 1u) << bank);
      asked += words;
    });
    uint32_t wavefronts = 1;
    if (static_cast<uint32_t>(std::popcount(banks)) != asked) {  // two lanes meet in a bank: for the same word?
      uint64_t seen[32][32];
      uint32_t depth[32] = {};
      each_lane(phase, [&](int l) {
        for (uint32_t word = 0; word < words; ++word) {
          const uint64_t at = (address[first + l] >> 2) + word;
          const uint32_t bank = at & 31;
          if (std::find(seen[bank], seen[bank] + depth[bank], at) == seen[bank] + depth[bank]) {
            seen[bank][depth[bank]++] = at;
          }
        }
      });
      wavefronts = *std::max_element(depth, depth + 32);
    }
    counters.shared_wavefronts += wavefronts;
    ++counters.shared_wavefronts_ideal;
  }
}

void report_shared(Warp& w, const Instruction& i, int lane, Access access, uint32_t bytes, uint64_t address,
                   const SharedWatch::Verdict& verdict) {
  static const char* const names[] = {"", "race with a write to shared memory", "race with a read of shared memory",
                                      "read of uninitialised shared memory",
                                      "access to shared bytes that cp.async has in flight"};
  std::string detail = describe(access, bytes, address) + ", byte " + hex(verdict.address);
  if (verdict.problem != SharedProblem::kUninitialised) detail += ", of warp " + std::to_string(verdict.other_warp);
  w.block->report(w, i, lane, names[static_cast<int>(verdict.problem)], detail);
}

void watch_shared(Warp& w, const Instruction& i, const uint64_t (&address)[32], uint32_t mask, uint32_t bytes,
                  Access access) {
  SharedWatch& watch = w.block->watch;
  each_lane(mask, [&](int l) {
    const auto at = static_cast<uint32_t>(address[l]);
    SharedWatch::Verdict verdict;
    if (access == Access::kRead) verdict = watch.read(w.index, at, bytes, i.atomic);
    if (access == Access::kWrite) verdict = watch.write(w.index, at, bytes, i.atomic);
    if (access == Access::kAsync) verdict = watch.issue(w.index, at, bytes);
    if (access == Access::kAtomic) {
      verdict = watch.read(w.index, at, bytes, true);
      const auto written = watch.write(w.index, at, bytes, true);
      if (verdict.problem == SharedProblem::kNone) verdict = written;
    }
    if (verdict.problem != SharedProblem::kNone) report_shared(w, i, l, access, bytes, address[l], verdict);
  });
}

/// Sectors of 32 bytes that the warp touches, each counted once, and how few would have held as many bytes.
void count_sectors(Counters& counters, const uint64_t (&address)[32], uint32_t mask, uint32_t bytes, Access access) {
  uint64_t sectors[64];
  int count = 0;
  each_lane(mask, [&](int l) {
    for (uint64_t s = address[l] / 32; s <= (address[l] + bytes - 1) / 32; ++s) {
      if (count > 0 && sectors[count - 1] == s) continue;
      sectors[count++] = s;
    }
  });
  if (!std::is_sorted(sectors, sectors + count)) std::sort(sectors, sectors + count);
  const uint64_t distinct = std::unique(sectors, sectors + count) - sectors;
  const uint64_t ideal = (std::popcount(mask) * uint64_t{bytes} + 31) / 32;
  counters.global_sectors += distinct;
  counters.global_sectors_ideal += std::min(distinct, ideal);  // lanes may share an address
  if (access != Access::kWrite) counters.global_bytes_read += distinct * 32;
  if (access == Access::kWrite || access == Access::kAtomic) counters.global_bytes_written += distinct * 32;
}

/// The allocation that holds these bytes, or -1.
int find_range(const std::vector<DeviceMemory::Range>& ranges, uint64_t begin, uint64_t end) {
  auto next = std::upper_bound(ranges.begin(), ranges.end(), begin,
                               [](uint64_t address, const DeviceMemory::Range& r) { return address < r.begin; });
  if (next == ranges.begin()) return -1;
  --next;
  return end <= next->end ? static_cast<int>(next - ranges.begin()) : -1;
}

Pointers resolve_local(Warp& w, const Instruction& i, const uint64_t (&address)[32], uint32_t mask, uint32_t bytes,
                       Access access) {
  Pointers p;
  const uint64_t size = w.block->program.local_bytes;
  each_lane(aligned_lanes(w, i, address, mask, bytes, access, bytes), [&](int l) {
    if (address[l] > size || size - address[l] < bytes) {
      w.block->report(w, i, l, "local memory out of bounds", describe(access, bytes, address[l]));
      return;
    }
    p.valid |= 1u << l;
    p.lane[l] = w.block->local_memory.data() + size * (w.index * 32 + l) + address[l];
  });
  return p;
}

Pointers resolve_parameter(Warp& w, const Instruction& i, const uint64_t (&address)[32], uint32_t mask, uint32_t bytes,
                           Access access) {
  Pointers p;
  const uint64_t size = w.block->program.info.parameter_bytes();
  each_lane(mask, [&](int l) {
    if (address[l] > size || size - address[l] < bytes || access != Access::kRead) {
      w.block->report(w, i, l, "parameters out of bounds", describe(access, bytes, address[l]));
      return;
    }
    p.valid |= 1u << l;
    p.lane[l] = const_cast<unsigned char*>(w.block->launch.parameters) + address[l];
  });
  return p;
}

Pointers resolve_in(StateSpace space, Warp& w, const Instruction& i, const uint64_t (&address)[32], uint32_t mask,
                    uint32_t bytes, Access access) {
  if (space == StateSpace::kShared) return resolve_shared(w, i, address, mask, bytes, access);
  if (space == StateSpace::kLocal) return resolve_local(w, i, address, mask, bytes, access);
  if (space == StateSpace::kParam) return resolve_parameter(w, i, address, mask, bytes, access);
  return resolve_global(w, i, address, mask, bytes, access, bytes);
}

}  // namespace

void addresses_of(Warp& w, const Instruction& i, uint64_t (&address)[32]) {
  if (i.wide_address) {
    const uint64_t* base = w.lanes<uint64_t>(i.a[0]);
    for (int l = 0; l < 32; ++l) address[l] = base[l] + static_cast<uint64_t>(i.immediate);
  } else {
    const uint32_t* base = w.lanes<uint32_t>(i.a[0]);
    for (int l = 0; l < 32; ++l) address[l] = static_cast<uint32_t>(base[l] + static_cast<uint32_t>(i.immediate));
  }
}

Pointers resolve_shared(Warp& w, const Instruction& i, const uint64_t (&address)[32], uint32_t mask, uint32_t bytes,
                        Access access) {
  Pointers p;
  const uint64_t size = w.block->launch.shared_bytes;
  each_lane(aligned_lanes(w, i, address, mask, bytes, access, bytes), [&](int l) {
    if (address[l] > size || size - address[l] < bytes) {
      w.block->report(w, i, l, "shared memory out of bounds",
                      describe(access, bytes, address[l]) + " of " + std::to_string(size));
      return;
    }
    p.valid |= 1u << l;
    p.lane[l] = w.block->shared.get() + address[l];
  });
  watch_shared(w, i, address, p.valid, bytes, access);
  count_wavefronts(w.block->counters, address, p.valid, bytes);
  return p;
}

Pointers resolve_global(Warp& w, const Instruction& i, const uint64_t (&address)[32], uint32_t mask, uint32_t bytes,
                        Access access, uint32_t alignment) {
  Pointers p;
  const auto& ranges = w.block->launch.ranges;
  uint32_t& cached = w.block->range_cache[&i - w.block->program.code.data()];
  each_lane(aligned_lanes(w, i, address, mask, bytes, access, alignment), [&](int l) {
    const uint64_t begin = address[l], end = begin + bytes;
    if (!(cached < ranges.size() && begin >= ranges[cached].begin && end <= ranges[cached].end)) {
      const int found = find_range(ranges, begin, end);
      if (found < 0) {
        w.block->report(w, i, l, "global memory out of bounds", describe(access, bytes, begin));
        return;
      }
      cached = static_cast<uint32_t>(found);
    }
    p.valid |= 1u << l;
    p.lane[l] = reinterpret_cast<unsigned char*>(begin);
  });
  if (p.valid) count_sectors(w.block->counters, address, p.valid, bytes, access);
  return p;
}

Pointers resolve(Warp& w, const Instruction& i, uint32_t bytes, Access access) {
  uint64_t address[32];
  addresses_of(w, i, address);
  if (i.space != StateSpace::kGeneric) return resolve_in(i.space, w, i, address, w.mask, bytes, access);
  static constexpr struct {
    uint64_t window;
    StateSpace space;
  } kWindows[] = {{0, StateSpace::kGlobal},
                  {kSharedWindow, StateSpace::kShared},
                  {kLocalWindow, StateSpace::kLocal},
                  {kParamWindow, StateSpace::kParam}};
  Pointers all;
  for (const auto& [window, space] : kWindows) {
    uint32_t mask = 0;
    uint64_t offset[32];
    for (int l = 0; l < 32; ++l) {
      const uint64_t top = address[l] >> 56;
      const bool here = window ? top == window >> 56 : top == 0 || top > (kParamWindow >> 56);
      mask |= static_cast<uint32_t>((w.mask >> l & 1) && here) << l;
      offset[l] = address[l] - window;
    }
    if (!mask) continue;
    const Pointers part = resolve_in(space, w, i, offset, mask, bytes, access);
    all.valid |= part.valid;
    each_lane(part.valid, [&](int l) { all.lane[l] = part.lane[l]; });
  }
  return all;
}

}  // namespace emulator

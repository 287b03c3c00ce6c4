#include "emulator/machine/shared_watch.h"

#include <algorithm>

namespace emulator {

void SharedWatch::reset(uint32_t bytes, uint32_t num_warps, int granule_shift) {
  shift_ = granule_shift;
  num_warps_ = num_warps;
  granules_ = (bytes >> shift_) + 1;
  written_.assign(granules_, kNever);
  read_.assign(size_t{granules_} * num_warps, 0);
  for (uint32_t warp = 0; warp < num_warps; ++warp) {
    clocks_[warp].fill(0);
    clocks_[warp][warp] = 1;  // tick 0 means never
  }
}

SharedWatch::Verdict SharedWatch::check_written(uint32_t warp, uint32_t first, uint32_t count, bool reads,
                                                bool atomic) const {
  uint32_t last = written_[first];  // mostly, one warp wrote all of it at one tick
  if (!knows(warp, last)) last = stamp(warp);
  for (uint32_t g = first; g < first + count; ++g) {
    const uint32_t entry = written_[g];
    if (entry == last) continue;
    if (!knows(warp, entry)) {
      const uint32_t address = g << shift_, other = entry >> 27;
      if (entry == kNever) {
        if (reads) return {SharedProblem::kUninitialised, address, 0};
      } else if ((entry & kTickMask) == kFlying) {
        return {SharedProblem::kInFlight, address, other};
      } else if (!(atomic && (entry & kAtomic))) {
        return {SharedProblem::kRaceWithWrite, address, other};
      }
    }
    last = entry;
  }
  return {};
}

SharedWatch::Verdict SharedWatch::check_read(uint32_t warp, uint32_t first, uint32_t count) const {
  for (uint32_t other = 0; other < num_warps_; ++other) {
    if (other == warp) continue;
    const uint32_t* ticks = &read_[size_t{other} * granules_ + first];
    const uint32_t known = clocks_[warp][other];
    uint32_t latest = 0;
    for (uint32_t g = 0; g < count; ++g) latest = std::max(latest, ticks[g]);
    if (latest <= known) continue;
    uint32_t g = 0;
    while (ticks[g] <= known) ++g;
    return {SharedProblem::kRaceWithRead, (first + g) << shift_, other};
  }
  return {};
}

SharedWatch::Verdict SharedWatch::read(uint32_t warp, uint32_t address, uint32_t bytes, bool atomic) {
  const uint32_t first = address >> shift_, count = bytes >> shift_;
  const Verdict verdict = check_written(warp, first, count, true, atomic);
  if (!atomic) std::fill_n(&read_[size_t{warp} * granules_ + first], count, clocks_[warp][warp]);
  return verdict;
}

SharedWatch::Verdict SharedWatch::write(uint32_t warp, uint32_t address, uint32_t bytes, bool atomic) {
  const uint32_t first = address >> shift_, count = bytes >> shift_;
  Verdict verdict = check_written(warp, first, count, false, atomic);
  if (verdict.problem == SharedProblem::kNone) verdict = check_read(warp, first, count);
  std::fill_n(&written_[first], count, stamp(warp) | (atomic ? kAtomic : 0));
  return verdict;
}

SharedWatch::Verdict SharedWatch::issue(uint32_t warp, uint32_t address, uint32_t bytes) {
  const Verdict verdict = write(warp, address, bytes, false);
  std::fill_n(&written_[address >> shift_], bytes >> shift_, warp << 27 | kFlying);
  return verdict;
}

void SharedWatch::land(uint32_t warp, uint32_t address, uint32_t bytes) {
  std::fill_n(&written_[address >> shift_], bytes >> shift_, stamp(warp));
}

}  // namespace emulator

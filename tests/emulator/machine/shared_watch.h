// Watches the shared memory of a block: who wrote and read each granule, and when, by vector clocks over warps.
//
// A granule is 1, 2 or 4 bytes, the narrowest access the kernel has. For each it keeps
//     written            one word: which warp wrote last, at which tick of that warp; or never written; or in flight
//     read[warp]         the tick of the last read by each warp
// Warp w knows of warp v's actions up to tick clock[w][v]. Barriers join clocks. An access that does not know of the
// one it conflicts with is a race, in whatever order the two happened to run.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace emulator {

constexpr int kMaxWarps = 32;
using VectorClock = std::array<uint32_t, kMaxWarps>;

enum class SharedProblem : uint8_t { kNone, kRaceWithWrite, kRaceWithRead, kUninitialised, kInFlight };

class SharedWatch {
 public:
  void reset(uint32_t bytes, uint32_t num_warps, int granule_shift);

  struct Verdict {
    SharedProblem problem = SharedProblem::kNone;
    uint32_t address = 0, other_warp = 0;
  };
  /// An access of `bytes` at `address` by a warp, at its present tick; recorded whatever the verdict.
  Verdict read(uint32_t warp, uint32_t address, uint32_t bytes, bool atomic);
  Verdict write(uint32_t warp, uint32_t address, uint32_t bytes, bool atomic);
  /// A cp.async: the bytes are nobody's until they land.
  Verdict issue(uint32_t warp, uint32_t address, uint32_t bytes);
  void land(uint32_t warp, uint32_t address, uint32_t bytes);

  VectorClock& clock(uint32_t warp) { return clocks_[warp]; }
  /// What the warp does from now on is later than what others have been told of.
  void tick(uint32_t warp) { ++clocks_[warp][warp]; }

 private:
  // warp:5 | atomic:1 | tick:26; the two states beside it carry a tick that no clock reaches.
  static constexpr uint32_t kTickMask = (1u << 26) - 1, kAtomic = 1u << 26;
  static constexpr uint32_t kNever = kTickMask, kFlying = kTickMask - 1;
  uint32_t stamp(uint32_t warp) const { return warp << 27 | clocks_[warp][warp]; }
  bool knows(uint32_t warp, uint32_t entry) const { return (entry & kTickMask) <= clocks_[warp][entry >> 27]; }
  Verdict check_written(uint32_t warp, uint32_t first, uint32_t count, bool reads, bool atomic) const;
  Verdict check_read(uint32_t warp, uint32_t first, uint32_t count) const;

  int shift_ = 2;
  uint32_t num_warps_ = 0, granules_ = 0;
  std::vector<uint32_t> written_, read_;  // read_: [warp][granule]
  std::array<VectorClock, kMaxWarps> clocks_{};
};

}  // namespace emulator

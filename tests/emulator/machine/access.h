// Where the lanes of a load, store, atomic or copy point to, checked and counted.
#pragma once

#include "emulator/machine/warp.h"

namespace emulator {

enum class Access : uint8_t { kRead, kWrite, kAtomic, kAsync };  // kAsync: written later, by cp.async

struct Pointers {
  uint32_t valid = 0;  // lanes whose access is allowed; the others are in the report
  unsigned char* lane[32];
};

/// `bytes` for each active lane at a[0] + immediate in i.space.
Pointers resolve(Warp& w, const Instruction& i, uint32_t bytes, Access access);

/// The same for addresses in shared memory that are known; ldmatrix and cp.async come with their own.
void addresses_of(Warp& w, const Instruction& i, uint64_t (&address)[32]);
Pointers resolve_shared(Warp& w, const Instruction& i, const uint64_t (&address)[32], uint32_t mask, uint32_t bytes,
                        Access access);
Pointers resolve_global(Warp& w, const Instruction& i, const uint64_t (&address)[32], uint32_t mask, uint32_t bytes,
                        Access access, uint32_t alignment);

}  // namespace emulator

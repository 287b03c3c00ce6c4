// cp.async and its groups. A copy is issued, and its bytes land as late as the rules allow: when the thread that issued
// it waits for its group. Until then they are in flight, and whoever touches them is reported.
#include <algorithm>
#include <cstring>

#include "emulator/machine/access.h"
#include "emulator/machine/lanes.h"
#include "emulator/machine/ops/decode.h"

namespace emulator {
namespace {

/// A lane that fills up with zeros reads no more than it asks for, which may end where its allocation does.
Pointers resolve_source(Warp& w, const Instruction& i, const uint64_t (&from)[32], const uint32_t (&filled)[32],
                        uint32_t reads) {
  uint32_t whole = 0;
  each_lane(reads, [&](int l) { whole |= static_cast<uint32_t>(filled[l] == i.bytes) << l; });
  Pointers source;
  if (whole) source = resolve_global(w, i, from, whole, i.bytes, Access::kRead, i.bytes);
  each_lane(reads & ~whole, [&](int l) {
    const Pointers one = resolve_global(w, i, from, 1u << l, filled[l], Access::kRead, i.bytes);
    source.valid |= one.valid;
    source.lane[l] = one.lane[l];
  });
  return source;
}

// a: the address in shared memory, of 32 or 64 bits; b[0]: the global address; c[0]: the bytes to read, if given.
void run_copy(Warp& w, const Instruction& i) {
  uint64_t to[32], from[32];
  addresses_of(w, i, to);
  const uint64_t* base = w.lanes<uint64_t>(i.b[0]);
  const auto offset = static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(i.c[1])));
  for (int l = 0; l < 32; ++l) from[l] = base[l] + offset;

  PendingCopy copy;
  copy.bytes = i.bytes;
  uint32_t reads = 0;
  for (int l = 0; l < 32; ++l) {
    copy.filled[l] = i.c[0] == kNone ? i.bytes : std::min<uint32_t>(w.lanes<uint32_t>(i.c[0])[l], i.bytes);
    reads |= ((w.mask >> l & 1) && copy.filled[l] > 0) << l;
  }
  const Pointers target = resolve_shared(w, i, to, w.mask, i.bytes, Access::kAsync);
  const Pointers source = resolve_source(w, i, from, copy.filled, reads);
  copy.remaining = target.valid & (source.valid | ~reads);
  for (int l = 0; l < 32; ++l) {
    copy.group[l] = w.committed[l];
    copy.shared[l] = static_cast<uint32_t>(to[l]);
    copy.global[l] = (reads & source.valid) >> l & 1 ? source.lane[l] : nullptr;
  }
  if (copy.remaining) w.pending.push_back(copy);
}

void run_commit(Warp& w, const Instruction&) {
  each_lane(w.mask, [&](int l) { ++w.committed[l]; });
}

/// Lands, for the active lanes, all copies but those of the last `immediate` groups; with mode 1 those too, and
/// what has not been committed.
void run_wait(Warp& w, const Instruction& i) {
  for (PendingCopy& copy : w.pending) {
    each_lane(copy.remaining & w.mask, [&](int l) {
      if (i.mode == 0 && int64_t{copy.group[l]} >= int64_t{w.committed[l]} - i.immediate) return;
      unsigned char* to = w.block->shared.get() + copy.shared[l];
      if (copy.global[l]) std::memcpy(to, copy.global[l], copy.filled[l]);
      std::memset(to + copy.filled[l], 0, copy.bytes - copy.filled[l]);
      w.block->watch.land(w.index, copy.shared[l], copy.bytes);
      copy.remaining &= ~(1u << l);
    });
  }
  std::erase_if(w.pending, [](const PendingCopy& copy) { return copy.remaining == 0; });
}

}  // namespace

void decode_copy_async(Decoder& d, Instruction& i) {
  i.kind = InstructionClass::kAsyncCopy;
  if (!d.take("async")) d.unknown();
  if (d.take("commit_group")) {
    i.run = run_commit;
  } else if (d.take("wait_group")) {
    d.expect_operands(1);
    i.immediate = static_cast<int64_t>(d.integer(d.operand(0)));
    i.run = run_wait;
  } else if (d.take("wait_all")) {
    i.mode = 1;
    i.run = run_wait;
  } else {
    if (d.take_any({"ca", "cg"}).empty() || d.take_any({"shared", "shared::cta"}).empty() || !d.take("global"))
      d.unknown();
    d.take_any({"L2::64B", "L2::128B", "L2::256B"});
    Instruction source;
    source.space = ptx::StateSpace::kGlobal;
    d.address(d.operand(1), source);
    if (!source.wide_address) d.unknown("a global address of fewer than 64 bits");
    i.space = ptx::StateSpace::kShared;
    d.address(d.operand(0), i);
    i.b[0] = source.a[0];
    i.c[1] = static_cast<uint32_t>(static_cast<int32_t>(source.immediate));
    i.bytes = static_cast<uint8_t>(d.integer(d.operand(2)));
    if (i.bytes != 4 && i.bytes != 8 && i.bytes != 16) d.unknown("cp.async copies 4, 8 or 16 bytes");
    if (d.statement().operands.size() > 3) i.c[0] = d.source(d.operand(3), 32);
    i.run = run_copy;
  }
}

}  // namespace emulator

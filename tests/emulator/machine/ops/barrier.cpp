// bar, barrier: who arrives where, and what the barriers tell the warps of each other. Fences order memory between
// threads, which here is always in order.
#include <algorithm>

#include "emulator/machine/lanes.h"
#include "emulator/machine/ops/decode.h"

namespace emulator {
namespace {

enum Reduction : uint8_t { kNoReduction, kCount, kAnd, kOr };  // Instruction::bytes

/// mode 0: sync, 1: arrive. a[0]: the barrier; b[0]: the number of threads, if given; for bar.red, c[0]: the predicate,
/// c[1]: whether it is negated, d[0]: where the result goes.
void run_barrier(Warp& w, const Instruction& i) {
  const int first = std::countr_zero(w.mask);
  const uint32_t id = w.lanes<uint32_t>(i.a[0])[first];
  if (id >= 16) return w.block->report(w, i, first, "no such barrier", std::to_string(id));
  Barrier& barrier = w.block->barriers[id];
  const uint32_t expected = i.b[0] == kNone ? 0 : w.lanes<uint32_t>(i.b[0])[first];
  if (expected % 32 || (i.mode == 1 && expected == 0)) {
    w.block->report(w, i, first, "a barrier for a number of threads that is no multiple of 32",
                    std::to_string(expected));
  }
  if (barrier.in_use && barrier.expected != expected) {
    w.block->report(w, i, first, "threads wait at one barrier for different numbers of threads",
                    std::to_string(expected) + " and " + std::to_string(barrier.expected));
  }
  barrier.in_use = true;
  barrier.expected = expected;
  barrier.arrived[w.index] |= w.mask;
  const VectorClock& mine = w.block->watch.clock(w.index);
  for (int v = 0; v < kMaxWarps; ++v) barrier.clock[v] = std::max(barrier.clock[v], mine[v]);
  w.block->watch.tick(w.index);
  if (i.bytes != kNoReduction) {
    const uint32_t p = w.predicate(i.c[0]);
    barrier.votes += static_cast<uint32_t>(std::popcount((i.c[1] != kNone ? ~p : p) & w.mask));
    barrier.voters += static_cast<uint32_t>(std::popcount(w.mask));
  }
  if (i.mode == 0) {
    w.barrier = &i;
    w.blocked |= w.mask;
    each_lane(w.mask, [&](int l) { w.lane_barrier[l] = static_cast<uint8_t>(id); });
  }
}

/// A warp has arrived when all its living lanes have; it then stands for 32 threads.
bool is_complete(const Block& block, const Barrier& barrier) {
  uint32_t threads = 0;
  for (const Warp& w : block.warps) {
    const bool arrived = barrier.arrived[w.index] && (w.alive & ~barrier.arrived[w.index]) == 0;
    if (arrived) threads += 32;
    if (!arrived && w.alive && barrier.expected == 0) return false;
  }
  return threads >= barrier.expected;
}

void deliver(Warp& w, const Barrier& barrier, uint32_t lanes) {
  const Instruction& i = *w.barrier;
  w.mask = lanes;
  if (i.bytes == kCount) {
    uint32_t result[32];
    std::fill_n(result, 32, barrier.votes);
    store(w, i.d[0], result);
  } else if (i.bytes != kNoReduction) {
    const bool yes = i.bytes == kAnd ? barrier.votes == barrier.voters : barrier.votes > 0;
    store_predicate(w, i.d[0], yes ? UINT32_MAX : 0);
  }
}

void release(Block& block, Barrier& barrier, int id) {
  for (Warp& w : block.warps) {
    uint32_t here = 0;
    each_lane(w.blocked, [&](int l) { here |= static_cast<uint32_t>(w.lane_barrier[l] == id) << l; });
    if (!here) continue;
    w.blocked &= ~here;
    deliver(w, barrier, here);
    // Lanes of the warp that run meanwhile stop where these stand, to meet them.
    each_lane(here, [&](int l) { w.merge_pc = std::min(w.merge_pc, w.lane_pc[l]); });
    VectorClock& clock = block.watch.clock(w.index);
    for (int v = 0; v < kMaxWarps; ++v) clock[v] = std::max(clock[v], barrier.clock[v]);
  }
  barrier = Barrier{};
  ++block.counters.barriers;
}

/// bar.red.op.type d, barrier [, threads], [!]p
void decode_reduction(Decoder& d, Instruction& i, bool aligned) {
  const std::string op = d.take_any({"popc", "and", "or"});
  i.bytes = op == "popc" ? kCount : op == "and" ? kAnd : kOr;
  i.count = d.take("aligned") || aligned;
  const size_t last = d.statement().operands.size() - 1;
  if (op.empty() || d.take_type().bits != (op == "popc" ? 32 : 1) || last < 2 || last > 3) d.unknown();
  i.d[0] = d.destination(d.operand(0), op == "popc" ? 32 : 1);
  i.a[0] = d.source(d.operand(1), 32);
  if (last == 3) i.b[0] = d.source(d.operand(2), 32);
  ptx::Operand p = d.operand(last);
  if (p.negated) i.c[1] = 0;
  p.negated = false;
  i.c[0] = d.predicate_source(p);
  i.run = run_barrier;
}

}  // namespace

void complete_barriers(Block& block) {
  for (int id = 0; id < 16; ++id) {
    Barrier& barrier = block.barriers[id];
    if (barrier.in_use && is_complete(block, barrier)) release(block, barrier, id);
  }
}

void decode_barrier(Decoder& d, Instruction& i) {
  i.kind = InstructionClass::kBarrier;
  const bool old_form = d.statement().opcode[0] == "bar";  // always aligned
  if (old_form && d.take("warp")) {
    if (!d.take("sync")) d.unknown();
    d.expect_operands(1);
    i.kind = InstructionClass::kWarp;
    i.flow = Flow::kConverge;
    i.b[0] = d.source(d.operand(0), 32);
    i.run = do_nothing;
    return;
  }
  d.take("cta");
  i.flow = Flow::kBarrier;
  if (d.take("red")) return decode_reduction(d, i, old_form);
  if (d.take("arrive")) {
    i.mode = 1;
  } else if (!d.take("sync")) {
    d.unknown();
  }
  i.count = d.take("aligned") || old_form;  // 1: all lanes of a warp arrive together
  if (d.statement().operands.size() > 2) d.unknown();
  i.a[0] = d.source(d.operand(0), 32);
  if (d.statement().operands.size() == 2) i.b[0] = d.source(d.operand(1), 32);
  i.run = run_barrier;
}

void decode_fence(Decoder& d, Instruction& i) {
  i.kind = InstructionClass::kBarrier;
  i.run = do_nothing;
  if (d.statement().opcode[0] == "nanosleep") {
    d.take("u32");
    return;
  }
  d.take_any({"sc", "acq_rel"});
  if (d.take_any({"cta", "gl", "gpu", "sys"}).empty()) d.unknown();
}

}  // namespace emulator

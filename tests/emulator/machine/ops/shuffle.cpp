// shfl.sync: a lane reads a register of another lane of its segment.
//
// Operand c packs a clamp (bits 0-4) and a segment mask (bits 8-12). The source lane must lie within the segment, and
// for bfly, down and idx not above the clamp, for up not below it; else the lane keeps its own value and the predicate
// is 0.
#include "emulator/machine/lanes.h"
#include "emulator/machine/ops/decode.h"

namespace emulator {
namespace {

enum Mode : uint8_t { kUp, kDown, kButterfly, kIndex };

void run_shuffle(Warp& w, const Instruction& i) {
  uint32_t values[32], result[32], in_range = 0, missing = 0;
  std::memcpy(values, w.lanes<uint32_t>(i.a[0]), sizeof values);
  const uint32_t *amount = w.lanes<uint32_t>(i.a[1]), *control = w.lanes<uint32_t>(i.c[0]);
  for (int l = 0; l < 32; ++l) {
    const int b = amount[l] & 31, clamp = control[l] & 31, segment = control[l] >> 8 & 31;
    const int high = (l & segment) | (clamp & ~segment), low = l & segment;
    int from = i.mode == kUp ? l - b : i.mode == kDown ? l + b : i.mode == kButterfly ? l ^ b : low | (b & ~segment);
    const bool inside = i.mode == kUp ? from >= high : from <= high;
    if (!inside) from = l;
    in_range |= static_cast<uint32_t>(inside) << l;
    result[l] = values[from];
    missing |= static_cast<uint32_t>(!(w.mask >> from & 1)) << l;
  }
  if (i.d[0] != kNone) store(w, i.d[0], result);
  if (i.d[1] != kNone) store_predicate(w, i.d[1], in_range);
  each_lane(missing & w.mask, [&](int l) {
    w.block->report(w, i, l, "shuffle from a lane that does not take part", "the value is undefined");
  });
}

}  // namespace

void decode_shuffle(Decoder& d, Instruction& i) {
  i.kind = InstructionClass::kWarp;
  i.flow = Flow::kConverge;
  if (!d.take("sync") || !d.take("b32")) d.unknown();
  i.mode = d.take("up") ? kUp : d.take("down") ? kDown : d.take("bfly") ? kButterfly : kIndex;
  if (i.mode == kIndex && !d.take("idx")) d.unknown();
  d.expect_operands(5);
  const ptx::Operand& to = d.operand(0);
  const bool pair = to.kind == ptx::Operand::kPair;
  i.d[0] = d.destination(pair ? to.elements[0] : to, 32);
  if (pair) i.d[1] = d.destination(to.elements[1], 1);
  i.a[0] = d.source(d.operand(1), 32);
  i.a[1] = d.source(d.operand(2), 32);
  i.c[0] = d.source(d.operand(3), 32);
  i.b[0] = d.source(d.operand(4), 32);
  i.run = run_shuffle;
}

}  // namespace emulator

// vote, match, redux, activemask: what the lanes of a warp find out about each other.
#include <algorithm>

#include "emulator/machine/lanes.h"
#include "emulator/machine/ops/decode.h"

namespace emulator {
namespace {

uint32_t votes(Warp& w, const Instruction& i) {
  const uint32_t p = w.predicate(i.a[0]);
  return (i.a[1] != kNone ? ~p : p) & w.mask;  // a[1] marks a negated predicate
}

void broadcast(Warp& w, uint32_t offset, uint32_t value) {
  uint32_t result[32];
  std::fill_n(result, 32, value);
  store(w, offset, result);
}

void run_all(Warp& w, const Instruction& i) { store_predicate(w, i.d[0], votes(w, i) == w.mask ? UINT32_MAX : 0); }
void run_any(Warp& w, const Instruction& i) { store_predicate(w, i.d[0], votes(w, i) ? UINT32_MAX : 0); }
void run_uniform(Warp& w, const Instruction& i) {
  const uint32_t v = votes(w, i);
  store_predicate(w, i.d[0], v == 0 || v == w.mask ? UINT32_MAX : 0);
}
void run_ballot(Warp& w, const Instruction& i) { broadcast(w, i.d[0], votes(w, i)); }
void run_active(Warp& w, const Instruction& i) { broadcast(w, i.d[0], w.mask); }

template <class T>
void run_match_any(Warp& w, const Instruction& i) {
  const T* a = w.lanes<T>(i.a[0]);
  uint32_t result[32] = {};
  each_lane(w.mask, [&](int l) {
    each_lane(w.mask, [&](int other) { result[l] |= static_cast<uint32_t>(a[other] == a[l]) << other; });
  });
  store(w, i.d[0], result);
}

template <class T, class F>
void reduce(Warp& w, const Instruction& i, F f) {
  const T* a = w.lanes<T>(i.a[0]);
  T total = a[std::countr_zero(w.mask)];
  each_lane(w.mask & (w.mask - 1), [&](int l) { total = f(total, a[l]); });
  broadcast(w, i.d[0], static_cast<uint32_t>(total));
}

template <class T>
Run select_reduction(const std::string& op) {
  if (op == "min")
    return [](Warp& w, const Instruction& i) { reduce<T>(w, i, [](T a, T b) { return std::min(a, b); }); };
  if (op == "max")
    return [](Warp& w, const Instruction& i) { reduce<T>(w, i, [](T a, T b) { return std::max(a, b); }); };
  if (op == "add")
    return [](Warp& w, const Instruction& i) { reduce<uint32_t>(w, i, [](uint32_t a, uint32_t b) { return a + b; }); };
  if (op == "and")
    return [](Warp& w, const Instruction& i) { reduce<uint32_t>(w, i, [](uint32_t a, uint32_t b) { return a & b; }); };
  if (op == "or")
    return [](Warp& w, const Instruction& i) { reduce<uint32_t>(w, i, [](uint32_t a, uint32_t b) { return a | b; }); };
  if (op == "xor")
    return [](Warp& w, const Instruction& i) { reduce<uint32_t>(w, i, [](uint32_t a, uint32_t b) { return a ^ b; }); };
  return nullptr;
}

void decode_ballot(Decoder& d, Instruction& i) {
  const std::string mode = d.take_any({"all", "any", "uni", "ballot"});
  if (!d.take("sync") || mode.empty()) d.unknown();
  d.take_type();
  d.expect_operands(3);
  i.run = mode == "all" ? run_all : mode == "any" ? run_any : mode == "uni" ? run_uniform : run_ballot;
  i.d[0] = d.destination(d.operand(0), mode == "ballot" ? 32 : 1);
  ptx::Operand p = d.operand(1);
  if (p.negated) i.a[1] = 0;
  p.negated = false;
  i.a[0] = d.predicate_source(p);
}

}  // namespace

void decode_vote(Decoder& d, Instruction& i) {
  const std::string& op = d.statement().opcode[0];
  i.kind = InstructionClass::kWarp;
  if (op == "activemask") {
    d.take("b32");
    d.expect_operands(1);
    i.d[0] = d.destination(d.operand(0), 32);
    i.run = run_active;
    return;
  }
  i.flow = Flow::kConverge;
  if (op == "vote") {
    decode_ballot(d, i);
  } else if (op == "match") {
    if (!d.take("any") || !d.take("sync")) d.unknown();
    const unsigned width = d.take_type().bits;
    d.expect_operands(3);
    i.d[0] = d.destination(d.operand(0), 32);
    i.a[0] = d.source(d.operand(1), width);
    i.run = width == 64 ? run_match_any<uint64_t> : run_match_any<uint32_t>;
  } else {
    if (!d.take("sync")) d.unknown();
    const std::string reduction = d.take_any({"add", "min", "max", "and", "or", "xor"});
    const ptx::ScalarType type = d.take_type();
    i.run = type.is_signed() ? select_reduction<int32_t>(reduction) : select_reduction<uint32_t>(reduction);
    if (!i.run || type.is_float() || type.bits != 32) d.unknown();
    d.expect_operands(3);
    i.d[0] = d.destination(d.operand(0), 32);
    i.a[0] = d.source(d.operand(1), 32);
  }
  i.b[0] = d.source(d.operand(2), 32);
}

}  // namespace emulator

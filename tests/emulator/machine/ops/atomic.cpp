// atom and red on global and shared memory. Blocks may run on several host threads, so global atomics are real ones.
#include <atomic>
#include <cstring>

#include "emulator/machine/access.h"
#include "emulator/machine/lanes.h"
#include "emulator/machine/numbers.h"
#include "emulator/machine/ops/decode.h"

namespace emulator {
namespace {

using Operation = decltype(Instruction::operation);

template <class T>
T value_of(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
template <class T>
uint64_t bits_of(T value) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}

/// Where PTX keeps old and new bits of width `sizeof(U)`, and gives back the old.
template <class U>
void run_atomic(Warp& w, const Instruction& i) {
  const Pointers at = resolve(w, i, sizeof(U), Access::kAtomic);
  const U* b = w.lanes<U>(i.b[0]);
  const U* c = i.c[0] == kNone ? b : w.lanes<U>(i.c[0]);
  each_lane(at.valid, [&](int l) {
    std::atomic_ref<U> memory(*reinterpret_cast<U*>(at.lane[l]));
    U old = memory.load(std::memory_order_relaxed);
    while (!memory.compare_exchange_weak(old, static_cast<U>(i.operation(old, b[l], c[l])))) {
    }
    if (i.d[0] != kNone) w.lanes<U>(i.d[0])[l] = old;
  });
}

template <class T>
Operation select_number(const std::string& op) {
  if (op == "add")
    return [](uint64_t old, uint64_t b, uint64_t) {
      return bits_of<T>(static_cast<T>(value_of<T>(old) + value_of<T>(b)));
    };
  if (op == "min")
    return [](uint64_t old, uint64_t b, uint64_t) { return bits_of<T>(std::min(value_of<T>(old), value_of<T>(b))); };
  if (op == "max")
    return [](uint64_t old, uint64_t b, uint64_t) { return bits_of<T>(std::max(value_of<T>(old), value_of<T>(b))); };
  return nullptr;
}

Operation select_bits(const std::string& op) {
  if (op == "and") return [](uint64_t old, uint64_t b, uint64_t) { return old & b; };
  if (op == "or") return [](uint64_t old, uint64_t b, uint64_t) { return old | b; };
  if (op == "xor") return [](uint64_t old, uint64_t b, uint64_t) { return old ^ b; };
  if (op == "exch") return [](uint64_t, uint64_t b, uint64_t) { return b; };
  if (op == "cas") return [](uint64_t old, uint64_t b, uint64_t c) { return old == b ? c : old; };
  if (op == "inc") return [](uint64_t old, uint64_t b, uint64_t) { return old >= b ? 0 : old + 1; };
  if (op == "dec") return [](uint64_t old, uint64_t b, uint64_t) { return old == 0 || old > b ? b : old - 1; };
  return nullptr;
}

/// Two numbers of 16 bits, each added on its own.
template <float (*kWiden)(uint16_t), uint16_t (*kRound)(double, Rounding)>
uint64_t add_pair(uint64_t old, uint64_t b, uint64_t) {
  const auto one = [](uint64_t x, uint64_t y) {
    const auto sum = double{kWiden(static_cast<uint16_t>(x))} + kWiden(static_cast<uint16_t>(y));
    return uint64_t{kRound(sum, Rounding::kNearest)};
  };
  return one(old, b) | one(old >> 16, b >> 16) << 16;
}

Operation select(const std::string& op, ptx::ScalarType type) {
  const bool s = type.is_signed() && op != "add", wide = type.bits == 64;  // sums wrap, which needs no sign
  if (type.lanes == 2 && op == "add") {
    return type.kind == ptx::Type::kFloat ? add_pair<half_to_float, to_half> : add_pair<bf16_to_float, to_bf16>;
  }
  if (type.is_float()) {
    if (op != "add" || type.bits == 16) return nullptr;
    return wide ? select_number<double>(op) : select_number<float>(op);
  }
  const Operation number = s      ? (wide ? select_number<int64_t>(op) : select_number<int32_t>(op))
                           : wide ? select_number<uint64_t>(op)
                                  : select_number<uint32_t>(op);
  return number ? number : select_bits(op);
}

}  // namespace

void decode_atomic(Decoder& d, Instruction& i) {
  const bool returns = d.statement().opcode[0] == "atom";
  i.kind = InstructionClass::kAtomic;
  i.atomic = true;
  const std::string space = d.take_any({"global", "shared", "shared::cta"});
  i.space = space == "global" ? ptx::StateSpace::kGlobal
            : space.empty()   ? ptx::StateSpace::kGeneric
                              : ptx::StateSpace::kShared;
  d.take_any({"relaxed", "acquire", "release", "acq_rel"});
  d.take_any({"cta", "gpu", "sys"});
  const std::string op = d.take_any({"add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec"});
  d.take("noftz");
  const ptx::ScalarType type = d.take_type();
  const unsigned width = type.width();
  const Operation operation = width < 32 ? nullptr : select(op, type);
  if (!operation) d.unknown();
  const size_t first = returns ? 1 : 0;
  d.expect_operands(first + (op == "cas" ? 3 : 2));
  if (returns) i.d[0] = d.destination(d.operand(0), width);
  d.address(d.operand(first), i);
  i.b[0] = d.source(d.operand(first + 1), width);
  if (op == "cas") i.c[0] = d.source(d.operand(first + 2), width);
  i.operation = operation;
  i.run = width == 64 ? run_atomic<uint64_t> : run_atomic<uint32_t>;
}

}  // namespace emulator

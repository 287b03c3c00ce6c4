// setp, selp, slct. A comparison makes one bit for each lane; floats compare ordered or (equ, ltu, ...) unordered.
#include "emulator/machine/lanes.h"
#include "emulator/machine/numbers.h"
#include "emulator/machine/ops/decode.h"

namespace emulator {
namespace {

enum Combine : uint8_t { kOnly, kAnd, kOr, kXor };

/// The second destination gets the opposite of the comparison, combined with the same predicate.
void write_result(Warp& w, const Instruction& i, uint32_t bits) {
  uint32_t opposite = ~bits;
  if (i.mode != kOnly) {
    uint32_t other = w.predicate(i.c[0]);
    if (i.c[1] != kNone) other = ~other;
    const auto combine = [&](uint32_t x) { return i.mode == kAnd ? x & other : i.mode == kOr ? x | other : x ^ other; };
    bits = combine(bits);
    opposite = combine(opposite);
  }
  if (i.d[0] != kNone) store_predicate(w, i.d[0], bits);
  if (i.d[1] != kNone) store_predicate(w, i.d[1], opposite);
}

template <class T, class F>
void compare(Warp& w, const Instruction& i, F f) {
  const T *a = w.lanes<T>(i.a[0]), *b = w.lanes<T>(i.b[0]);
  uint32_t bits = 0;
  for (int l = 0; l < 32; ++l) bits |= static_cast<uint32_t>(f(a[l], b[l])) << l;
  write_result(w, i, bits);
}

template <class T>
Run select_ordered(const std::string& op) {
  if (op == "eq") return [](Warp& w, const Instruction& i) { compare<T>(w, i, [](T a, T b) { return a == b; }); };
  if (op == "ne")
    return [](Warp& w, const Instruction& i) { compare<T>(w, i, [](T a, T b) { return a != b && a == a && b == b; }); };
  if (op == "lt" || op == "lo")
    return [](Warp& w, const Instruction& i) { compare<T>(w, i, [](T a, T b) { return a < b; }); };
  if (op == "le" || op == "ls")
    return [](Warp& w, const Instruction& i) { compare<T>(w, i, [](T a, T b) { return a <= b; }); };
  if (op == "gt" || op == "hi")
    return [](Warp& w, const Instruction& i) { compare<T>(w, i, [](T a, T b) { return a > b; }); };
  if (op == "ge" || op == "hs")
    return [](Warp& w, const Instruction& i) { compare<T>(w, i, [](T a, T b) { return a >= b; }); };
  return nullptr;
}

template <class T>
Run select_unordered(const std::string& op) {
  if (op == "equ")
    return [](Warp& w, const Instruction& i) { compare<T>(w, i, [](T a, T b) { return !(a < b || a > b); }); };
  if (op == "neu") return [](Warp& w, const Instruction& i) { compare<T>(w, i, [](T a, T b) { return a != b; }); };
  if (op == "ltu") return [](Warp& w, const Instruction& i) { compare<T>(w, i, [](T a, T b) { return !(a >= b); }); };
  if (op == "leu") return [](Warp& w, const Instruction& i) { compare<T>(w, i, [](T a, T b) { return !(a > b); }); };
  if (op == "gtu") return [](Warp& w, const Instruction& i) { compare<T>(w, i, [](T a, T b) { return !(a <= b); }); };
  if (op == "geu") return [](Warp& w, const Instruction& i) { compare<T>(w, i, [](T a, T b) { return !(a < b); }); };
  if (op == "num")
    return [](Warp& w, const Instruction& i) { compare<T>(w, i, [](T a, T b) { return a == a && b == b; }); };
  if (op == "nan")
    return [](Warp& w, const Instruction& i) { compare<T>(w, i, [](T a, T b) { return a != a || b != b; }); };
  return nullptr;
}

template <class T>
Run select_float(const std::string& op) {
  const Run run = select_ordered<T>(op);
  return run ? run : select_unordered<T>(op);
}

// Numbers of 16 bits, kept as such and compared as floats.
struct HalfValue {
  uint16_t bits;
  operator float() const { return half_to_float(bits); }
};
struct BrainValue {
  uint16_t bits;
  operator float() const { return bf16_to_float(bits); }
};

Run select(const std::string& op, ptx::ScalarType type) {
  if (type.is_float()) {
    if (type.bits == 16)
      return type.kind == ptx::Type::kFloat ? select_float<HalfValue>(op) : select_float<BrainValue>(op);
    return type.bits == 32 ? select_float<float>(op) : select_float<double>(op);
  }
  const bool s = type.is_signed();
  if (type.bits == 16) return s ? select_ordered<int16_t>(op) : select_ordered<uint16_t>(op);
  if (type.bits == 32) return s ? select_ordered<int32_t>(op) : select_ordered<uint32_t>(op);
  return s ? select_ordered<int64_t>(op) : select_ordered<uint64_t>(op);
}

template <class T>
void run_select(Warp& w, const Instruction& i) {
  const T *a = w.lanes<T>(i.a[0]), *b = w.lanes<T>(i.b[0]);
  const uint32_t p = w.predicate(i.c[0]);
  T result[32];
  for (int l = 0; l < 32; ++l) result[l] = (p >> l & 1) ? a[l] : b[l];
  store(w, i.d[0], result);
}

template <class T, class C>
void run_select_by_sign(Warp& w, const Instruction& i) {
  map3<T, T, T, C>(w, i, [](T a, T b, C c) { return c >= 0 ? a : b; });
}

}  // namespace

void decode_compare(Decoder& d, Instruction& i) {
  for (const auto& word : d.statement().opcode) {
    if (word == "f16x2" || word == "bf16x2") return decode_setp_pair(d, i);
  }
  i.kind = InstructionClass::kPredicate;
  const std::string op = d.take_any({"eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu",
                                     "leu", "gtu", "geu", "num", "nan"});
  const std::string combine = d.take_any({"and", "or", "xor"});
  i.mode = combine == "and" ? kAnd : combine == "or" ? kOr : combine == "xor" ? kXor : kOnly;
  const ptx::ScalarType type = d.take_type();
  d.take("ftz");  // a subnormal number compares as itself, not as zero: the difference has never mattered
  i.run = select(op, type);
  if (!i.run) d.unknown();
  d.expect_operands(i.mode == kOnly ? 3 : 4);
  const ptx::Operand& to = d.operand(0);
  if (to.kind == ptx::Operand::kPair) {
    i.d[0] = d.destination(to.elements[0], 1);
    i.d[1] = d.destination(to.elements[1], 1);
  } else {
    i.d[0] = d.destination(to, 1);
  }
  i.a[0] = d.source(d.operand(1), type.bits);
  i.b[0] = d.source(d.operand(2), type.bits);
  if (i.mode != kOnly) {
    ptx::Operand other = d.operand(3);
    if (other.negated) i.c[1] = 0;
    other.negated = false;
    i.c[0] = d.predicate_source(other);
  }
}

void decode_select(Decoder& d, Instruction& i) {
  i.kind = InstructionClass::kPredicate;
  const ptx::ScalarType type = d.take_type();
  d.expect_operands(4);
  i.d[0] = d.destination(d.operand(0), type.bits);
  i.a[0] = d.source(d.operand(1), type.bits);
  i.b[0] = d.source(d.operand(2), type.bits);
  if (d.statement().opcode[0] == "selp") {
    i.run = type.bits == 16 ? run_select<uint16_t> : type.bits == 32 ? run_select<uint32_t> : run_select<uint64_t>;
    i.c[0] = d.predicate_source(d.operand(3));
    return;
  }
  const ptx::ScalarType by = d.take_type();
  if (type.bits != 32 || by.bits != 32) d.unknown();
  i.run = by.is_float() ? run_select_by_sign<uint32_t, float> : run_select_by_sign<uint32_t, int32_t>;
  i.c[0] = d.source(d.operand(3), 32);
}

}  // namespace emulator

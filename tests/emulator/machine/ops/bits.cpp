// Logic, shifts and bit fields; and the same logic on predicates, which are one bit per lane.
#include <algorithm>
#include <bit>

#include "emulator/machine/lanes.h"
#include "emulator/machine/ops/decode.h"

namespace emulator {
namespace {

// ---- predicates

uint32_t read_predicate(Warp& w, uint32_t offset) { return w.predicate(offset); }

Run select_predicate(const std::string& op) {
  if (op == "and")
    return [](Warp& w, const Instruction& i) {
      store_predicate(w, i.d[0], read_predicate(w, i.a[0]) & read_predicate(w, i.b[0]));
    };
  if (op == "or")
    return [](Warp& w, const Instruction& i) {
      store_predicate(w, i.d[0], read_predicate(w, i.a[0]) | read_predicate(w, i.b[0]));
    };
  if (op == "xor")
    return [](Warp& w, const Instruction& i) {
      store_predicate(w, i.d[0], read_predicate(w, i.a[0]) ^ read_predicate(w, i.b[0]));
    };
  if (op == "not") return [](Warp& w, const Instruction& i) { store_predicate(w, i.d[0], ~read_predicate(w, i.a[0])); };
  return nullptr;
}

// ---- logic and shifts; a shift by the width or more gives what shifting by one often enough would

template <class T>
T shift_left(T a, uint32_t n) {
  return n >= sizeof(T) * 8 ? 0 : static_cast<T>(static_cast<uint64_t>(a) << n);
}
template <class T>
T shift_right(T a, uint32_t n) {
  if (std::is_signed_v<T>) return static_cast<T>(a >> std::min<uint32_t>(n, sizeof(T) * 8 - 1));
  return n >= sizeof(T) * 8 ? 0 : static_cast<T>(a >> n);
}

template <class T>
Run select_logic(const std::string& op) {
  if (op == "and")
    return [](Warp& w, const Instruction& i) { map2<T, T, T>(w, i, [](T a, T b) { return static_cast<T>(a & b); }); };
  if (op == "or")
    return [](Warp& w, const Instruction& i) { map2<T, T, T>(w, i, [](T a, T b) { return static_cast<T>(a | b); }); };
  if (op == "xor")
    return [](Warp& w, const Instruction& i) { map2<T, T, T>(w, i, [](T a, T b) { return static_cast<T>(a ^ b); }); };
  if (op == "not")
    return [](Warp& w, const Instruction& i) { map1<T, T>(w, i, [](T a) { return static_cast<T>(~a); }); };
  if (op == "cnot")
    return [](Warp& w, const Instruction& i) { map1<T, T>(w, i, [](T a) { return static_cast<T>(a == 0); }); };
  if (op == "shl") return [](Warp& w, const Instruction& i) { map2<T, T, uint32_t>(w, i, shift_left<T>); };
  return nullptr;
}

template <class T>
Run select_shift_right() {
  return [](Warp& w, const Instruction& i) { map2<T, T, uint32_t>(w, i, shift_right<T>); };
}

template <class U, class S>
Run select_typed(const std::string& op, bool is_signed) {
  if (op != "shr") return select_logic<U>(op);
  return is_signed ? select_shift_right<S>() : select_shift_right<U>();
}

// ---- bit fields

template <class U, class S>
U extract(U a, uint32_t position, uint32_t length, bool is_signed) {
  constexpr uint32_t kBits = sizeof(U) * 8;
  position &= 0xff;
  length &= 0xff;
  const uint32_t last = std::min(position + length - 1, kBits - 1);
  const bool fill = is_signed && length != 0 && (a >> last & 1);
  const U field = position >= kBits ? 0 : a >> position;
  const U mask = length >= kBits ? ~U{0} : (U{1} << length) - 1;
  const U kept = position >= kBits ? 0 : mask & (~U{0} >> position);
  return (field & kept) | (fill ? ~kept : 0);
}

template <class U, class S, bool kSigned>
void run_bfe(Warp& w, const Instruction& i) {
  map3<U, U, uint32_t, uint32_t>(w, i, [](U a, uint32_t p, uint32_t n) { return extract<U, S>(a, p, n, kSigned); });
}

/// bfi d, a, b, position, length: the low bits of a take the place of a field of b.
template <class U>
void run_bfi(Warp& w, const Instruction& i) {
  constexpr uint32_t kBits = sizeof(U) * 8;
  const U *a = w.lanes<U>(i.a[0]), *b = w.lanes<U>(i.b[0]);
  const uint32_t *position = w.lanes<uint32_t>(i.c[0]), *length = w.lanes<uint32_t>(i.c[1]);
  U result[32];
  for (int l = 0; l < 32; ++l) {
    const uint32_t p = position[l] & 0xff, n = length[l] & 0xff;
    const U ones = n >= kBits ? ~U{0} : (U{1} << n) - 1;
    const U mask = p >= kBits ? 0 : ones << p;
    result[l] = (b[l] & ~mask) | (p >= kBits ? 0 : (a[l] << p) & mask);
  }
  store(w, i.d[0], result);
}

template <class U>
void run_popc(Warp& w, const Instruction& i) {
  map1<uint32_t, U>(w, i, [](U a) { return static_cast<uint32_t>(std::popcount(a)); });
}
template <class U>
void run_clz(Warp& w, const Instruction& i) {
  map1<uint32_t, U>(w, i, [](U a) { return static_cast<uint32_t>(std::countl_zero(a)); });
}
template <class U>
void run_brev(Warp& w, const Instruction& i) {
  map1<U, U>(w, i, [](U a) {
    U reversed = 0;
    for (size_t bit = 0; bit < sizeof(U) * 8; ++bit) reversed |= (a >> bit & 1) << (sizeof(U) * 8 - 1 - bit);
    return reversed;
  });
}
/// The position of the highest bit that differs from the sign, or, as a shift amount, what would bring it to the top;
/// all ones if there is none.
template <class U, class S>
void run_bfind(Warp& w, const Instruction& i) {
  map1<uint32_t, U>(w, i, [amount = i.mode != 0](U a) {
    if (std::is_signed_v<S> && static_cast<S>(a) < 0) a = ~a;
    const auto zeros = static_cast<uint32_t>(std::countl_zero(a));
    return a == 0 ? UINT32_MAX : amount ? zeros : static_cast<uint32_t>(sizeof(U) * 8 - 1 - zeros);
  });
}

/// bmsk d, position, length: ones in that field alone.
template <bool kWrap>
void run_mask(Warp& w, const Instruction& i) {
  map2<uint32_t, uint32_t, uint32_t>(w, i, [](uint32_t position, uint32_t length) {
    const uint32_t p = kWrap ? position & 31 : std::min(position, 32u), n = kWrap ? length & 31 : std::min(length, 32u);
    return static_cast<uint32_t>(((uint64_t{1} << n) - 1) << p);
  });
}

uint32_t permute(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t both = uint64_t{b} << 32 | a;
  uint32_t result = 0;
  for (int byte = 0; byte < 4; ++byte) {
    const uint32_t pick = selector >> (byte * 4) & 0xf;
    uint32_t value = both >> ((pick & 7) * 8) & 0xff;
    if (pick & 8) value = value & 0x80 ? 0xff : 0;
    result |= value << (byte * 8);
  }
  return result;
}

template <bool kLeft, bool kWrap>
void run_funnel(Warp& w, const Instruction& i) {
  map3<uint32_t, uint32_t, uint32_t, uint32_t>(w, i, [](uint32_t low, uint32_t high, uint32_t amount) {
    const uint32_t n = kWrap ? amount & 31 : std::min(amount, 32u);
    const uint64_t both = uint64_t{high} << 32 | low;
    return static_cast<uint32_t>(kLeft ? both << n >> 32 : both >> n);
  });
}

/// The table's bit 4x + 2y + z is the result for bits x, y, z of the sources.
void run_lop3(Warp& w, const Instruction& i) {
  map3<uint32_t, uint32_t, uint32_t, uint32_t>(w, i, [table = i.immediate](uint32_t a, uint32_t b, uint32_t c) {
    uint32_t result = 0;
    for (int entry = 0; entry < 8; ++entry) {
      const uint32_t all = (entry & 4 ? a : ~a) & (entry & 2 ? b : ~b) & (entry & 1 ? c : ~c);
      result |= table >> entry & 1 ? all : 0;
    }
    return result;
  });
}

void decode_funnel(Decoder& d, Instruction& i) {
  const bool left = d.take("l");
  if (!left && !d.take("r")) d.unknown();
  const bool wrap = d.take("wrap");
  if (!wrap && !d.take("clamp")) d.unknown();
  d.take("b32");
  i.run = left ? (wrap ? run_funnel<true, true> : run_funnel<true, false>)
               : (wrap ? run_funnel<false, true> : run_funnel<false, false>);
  decode_operands(d, i, 3, 32);
}

void decode_field(Decoder& d, Instruction& i, const std::string& op, ptx::ScalarType type) {
  const bool wide = type.bits == 64;
  d.expect_operands(op == "bfe" ? 4 : 5);
  i.d[0] = d.destination(d.operand(0), type.bits);
  i.a[0] = d.source(d.operand(1), type.bits);
  if (op == "bfe") {
    i.run = type.is_signed() ? (wide ? run_bfe<uint64_t, int64_t, true> : run_bfe<uint32_t, int32_t, true>)
                             : (wide ? run_bfe<uint64_t, int64_t, false> : run_bfe<uint32_t, int32_t, false>);
    i.b[0] = d.source(d.operand(2), 32);
    i.c[0] = d.source(d.operand(3), 32);
  } else {
    i.run = wide ? run_bfi<uint64_t> : run_bfi<uint32_t>;
    i.b[0] = d.source(d.operand(2), type.bits);
    i.c[0] = d.source(d.operand(3), 32);
    i.c[1] = d.source(d.operand(4), 32);
  }
}

void decode_bit_count(Decoder& d, Instruction& i, const std::string& op, ptx::ScalarType type) {
  const bool wide = type.bits == 64;
  if (op == "popc") i.run = wide ? run_popc<uint64_t> : run_popc<uint32_t>;
  if (op == "clz") i.run = wide ? run_clz<uint64_t> : run_clz<uint32_t>;
  if (op == "brev") i.run = wide ? run_brev<uint64_t> : run_brev<uint32_t>;
  if (op == "bfind" && type.is_signed()) i.run = wide ? run_bfind<uint64_t, int64_t> : run_bfind<uint32_t, int32_t>;
  if (op == "bfind" && !type.is_signed()) i.run = wide ? run_bfind<uint64_t, uint64_t> : run_bfind<uint32_t, uint32_t>;
  i.mode = op == "bfind" && d.take("shiftamt");
  d.expect_operands(2);
  i.d[0] = d.destination(d.operand(0), op == "brev" ? type.bits : 32);
  i.a[0] = d.source(d.operand(1), type.bits);
}

void decode_logic(Decoder& d, Instruction& i, const std::string& op, ptx::ScalarType type) {
  const bool is_signed = type.is_signed(), one = op == "not" || op == "cnot";
  if (type.kind == ptx::Type::kPred) {
    i.kind = InstructionClass::kPredicate;
    i.run = select_predicate(op);
  } else {
    i.run = type.bits == 16   ? select_typed<uint16_t, int16_t>(op, is_signed)
            : type.bits == 32 ? select_typed<uint32_t, int32_t>(op, is_signed)
                              : select_typed<uint64_t, int64_t>(op, is_signed);
  }
  if (op == "shl" || op == "shr") {
    d.expect_operands(3);
    i.d[0] = d.destination(d.operand(0), type.bits);
    i.a[0] = d.source(d.operand(1), type.bits);
    i.b[0] = d.source(d.operand(2), 32);
  } else {
    decode_operands(d, i, one ? 1 : 2, type.width());
  }
}

}  // namespace

void decode_bits(Decoder& d, Instruction& i) {
  const std::string& op = d.statement().opcode[0];
  i.kind = InstructionClass::kInteger;
  if (op == "prmt") {
    d.take("b32");
    i.run = [](Warp& w, const Instruction& i) { map3<uint32_t, uint32_t, uint32_t, uint32_t>(w, i, permute); };
    decode_operands(d, i, 3, 32);
  } else if (op == "shf") {
    decode_funnel(d, i);
  } else if (op == "bmsk") {
    const std::string mode = d.take_any({"clamp", "wrap"});
    d.take("b32");
    i.run = mode == "wrap" ? run_mask<true> : mode == "clamp" ? run_mask<false> : nullptr;
    decode_operands(d, i, 2, 32);
  } else if (op == "lop3") {
    d.take("b32");
    d.expect_operands(5);
    i.run = run_lop3;
    i.immediate = static_cast<int64_t>(d.integer(d.operand(4)));
    i.d[0] = d.destination(d.operand(0), 32);
    i.a[0] = d.source(d.operand(1), 32);
    i.b[0] = d.source(d.operand(2), 32);
    i.c[0] = d.source(d.operand(3), 32);
  } else {
    const ptx::ScalarType type = d.take_type();
    if (op == "bfe" || op == "bfi") {
      decode_field(d, i, op, type);
    } else if (op == "popc" || op == "clz" || op == "brev" || op == "bfind") {
      decode_bit_count(d, i, op, type);
    } else {
      decode_logic(d, i, op, type);
    }
  }
  if (!i.run) d.unknown();
}

}  // namespace emulator

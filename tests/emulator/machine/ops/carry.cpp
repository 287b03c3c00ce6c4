// add.cc, addc, sub.cc, subc, mad.cc, madc: numbers wider than a register. Each lane has a carry flag, which .cc writes
// and the forms with a c read; after a subtraction it is the borrow.
#include "emulator/machine/lanes.h"
#include "emulator/machine/ops/decode.h"

namespace emulator {
namespace {

enum Mode : uint8_t { kReads = 1, kWrites = 2, kHigh = 4 };  // Instruction::mode
enum class Form { kAdd, kSubtract, kMultiply };

template <class U>
struct Wide;
template <>
struct Wide<uint32_t> {
  using type = uint64_t;
};
template <>
struct Wide<uint64_t> {
  __extension__ using type = unsigned __int128;
};

template <class U, Form kForm>
void run_carry(Warp& w, const Instruction& i) {
  using W = typename Wide<U>::type;
  constexpr int kBits = sizeof(U) * 8;
  const U *a = w.lanes<U>(i.a[0]), *b = w.lanes<U>(i.b[0]);
  const U* c = kForm == Form::kMultiply ? w.lanes<U>(i.c[0]) : nullptr;
  U result[32];
  uint32_t carries = 0;
  for (int l = 0; l < 32; ++l) {
    const W carry = (i.mode & kReads) ? w.carry >> l & 1 : 0;
    W wide;
    if constexpr (kForm == Form::kMultiply) {
      const W product = W{a[l]} * b[l];
      wide = W{static_cast<U>(i.mode & kHigh ? product >> kBits : product)} + c[l] + carry;
    } else {
      wide = kForm == Form::kAdd ? W{a[l]} + b[l] + carry : W{a[l]} - b[l] - carry;
    }
    result[l] = static_cast<U>(wide);
    carries |= static_cast<uint32_t>(wide >> kBits & 1) << l;
  }
  store(w, i.d[0], result);
  if (i.mode & kWrites) w.carry = (w.carry & ~w.mask) | (carries & w.mask);
}

template <class U>
Run select(const std::string& op) {
  return op.starts_with("add")   ? run_carry<U, Form::kAdd>
         : op.starts_with("sub") ? run_carry<U, Form::kSubtract>
                                 : run_carry<U, Form::kMultiply>;
}

}  // namespace

/// The high half of a product depends on the sign; only unsigned ones are known, which is what nvcc writes.
void decode_carry(Decoder& d, Instruction& i) {
  const std::string& op = d.statement().opcode[0];
  const bool multiplies = op.starts_with("mad");
  i.kind = InstructionClass::kInteger;
  if (op.back() == 'c') i.mode |= kReads;
  if (d.take("cc")) i.mode |= kWrites;
  const bool high = multiplies && d.take("hi");
  if (high) i.mode |= kHigh;
  if (multiplies && !high && !d.take("lo")) d.unknown();
  const ptx::ScalarType type = d.take_type();
  if (type.is_float() || type.bits < 32 || (high && type.is_signed())) d.unknown();
  i.run = type.bits == 32 ? select<uint32_t>(op) : select<uint64_t>(op);
  decode_operands(d, i, multiplies ? 3 : 2, type.bits);
}

}  // namespace emulator

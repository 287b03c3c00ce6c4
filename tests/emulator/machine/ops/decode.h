// The functions that decode one class of instructions each, and what they share.
#pragma once

#include <array>

#include "emulator/machine/decoder.h"

namespace emulator {

// One opcode word, many types: these are tried by the type.
void decode_integer(Decoder& d, Instruction& i, const std::string& op, ptx::ScalarType type);
void decode_float(Decoder& d, Instruction& i, const std::string& op, ptx::ScalarType type);
void decode_double(Decoder& d, Instruction& i, const std::string& op, ptx::ScalarType type);
void decode_half(Decoder& d, Instruction& i, const std::string& op, ptx::ScalarType type);

void decode_arithmetic(Decoder& d, Instruction& i);     // add, sub, mul, mad, fma, div, rem, abs, neg, min, max
void decode_carry(Decoder& d, Instruction& i);          // addc, subc, madc, and add, sub, mad with .cc
void decode_dot(Decoder& d, Instruction& i);            // dp4a
void decode_function_unit(Decoder& d, Instruction& i);  // ex2, lg2, rcp, rsqrt, sqrt, sin, cos, tanh
void decode_bits(Decoder& d, Instruction& i);           // and, or, xor, not, shl, shr, shf, lop3, bfe, bfi, popc, ...
void decode_compare(Decoder& d, Instruction& i);        // setp
void decode_set(Decoder& d, Instruction& i);            // set
void decode_setp_pair(Decoder& d, Instruction& i);      // setp of two numbers in a register
void decode_select(Decoder& d, Instruction& i);         // selp, slct
void decode_convert(Decoder& d, Instruction& i);        // cvt
void decode_move(Decoder& d, Instruction& i);           // mov
void decode_cvta(Decoder& d, Instruction& i);
void decode_load(Decoder& d, Instruction& i);
void decode_store(Decoder& d, Instruction& i);
void decode_prefetch(Decoder& d, Instruction& i);
void decode_atomic(Decoder& d, Instruction& i);  // atom, red
void decode_shuffle(Decoder& d, Instruction& i);
void decode_vote(Decoder& d, Instruction& i);  // vote, match, activemask, redux, elect
void decode_barrier(Decoder& d, Instruction& i);
void decode_fence(Decoder& d, Instruction& i);  // membar, fence, nanosleep
void decode_copy_async(Decoder& d, Instruction& i);
void decode_ldmatrix(Decoder& d, Instruction& i);
void decode_mma(Decoder& d, Instruction& i);
void decode_mma_wide(Decoder& d, Instruction& i, const std::string& shape,
                     const std::array<ptx::ScalarType, 4>& types);  // mma of bytes and of doubles

inline void do_nothing(Warp&, const Instruction&) {}

/// d, a [, b [, c]] of one width.
inline void decode_operands(Decoder& d, Instruction& i, size_t sources, unsigned width) {
  d.expect_operands(sources + 1);
  i.d[0] = d.destination(d.operand(0), width);
  i.a[0] = d.source(d.operand(1), width);
  if (sources > 1) i.b[0] = d.source(d.operand(2), width);
  if (sources > 2) i.c[0] = d.source(d.operand(3), width);
}

/// The registers of an operand in braces, or the one that stands without; `count` of them.
inline std::vector<ptx::Operand> elements(const Decoder& d, const ptx::Operand& o, size_t count) {
  const auto all = o.kind == ptx::Operand::kVector ? o.elements : std::vector<ptx::Operand>{o};
  if (all.size() != count) d.unknown("another number of registers than the instruction's");
  return all;
}
inline void decode_sources(Decoder& d, const ptx::Operand& o, size_t count, unsigned width, uint32_t (&to)[4]) {
  const auto all = elements(d, o, count);
  for (size_t r = 0; r < count; ++r) to[r] = d.source(all[r], width);
}
inline void decode_destinations(Decoder& d, const ptx::Operand& o, size_t count, unsigned width, uint32_t (&to)[4]) {
  const auto all = elements(d, o, count);
  for (size_t r = 0; r < count; ++r) {
    if (all[r].kind != ptx::Operand::kRegister) d.unknown();
    to[r] = d.destination(all[r], width);
  }
}

}  // namespace emulator

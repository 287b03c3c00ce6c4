// The first word of an opcode -> who decodes it.
#include <unordered_map>

#include "emulator/machine/ops/decode.h"

namespace emulator {
namespace {

using Table = std::unordered_map<std::string, DecodeFunction>;

Table make_table() {
  Table table;
  const auto add = [&](DecodeFunction decode, std::initializer_list<const char*> words) {
    for (const char* word : words) table[word] = decode;
  };
  add(decode_arithmetic,
      {"add", "sub", "mul", "mad", "fma", "div", "rem", "abs", "neg", "min", "max", "sad", "copysign"});
  add(decode_carry, {"addc", "subc", "madc"});
  add(decode_dot, {"dp4a"});
  add(decode_function_unit, {"ex2", "lg2", "rcp", "rsqrt", "sqrt", "sin", "cos", "tanh"});
  add(decode_bits, {"and", "or", "xor", "not", "cnot", "shl", "shr", "shf", "lop3", "prmt", "bfe", "bfi", "popc", "clz",
                    "brev", "bfind", "bmsk"});
  add(decode_compare, {"setp"});
  add(decode_set, {"set"});
  add(decode_select, {"selp", "slct"});
  add(decode_convert, {"cvt"});
  add(decode_move, {"mov"});
  add(decode_cvta, {"cvta"});
  add(decode_load, {"ld", "ldu"});
  add(decode_store, {"st"});
  add(decode_prefetch, {"prefetch"});
  add(decode_atomic, {"atom", "red"});
  add(decode_shuffle, {"shfl"});
  add(decode_vote, {"vote", "match", "redux", "activemask"});
  add(decode_barrier, {"bar", "barrier"});
  add(decode_fence, {"membar", "fence", "nanosleep"});
  add(decode_copy_async, {"cp"});
  add(decode_ldmatrix, {"ldmatrix"});
  add(decode_mma, {"mma"});
  return table;
}

}  // namespace

DecodeFunction decode_function_of(const std::string& opcode) {
  static const Table table = make_table();
  const auto found = table.find(opcode);
  return found == table.end() ? nullptr : found->second;
}

}  // namespace emulator

// The first word of an opcode -> who decodes it.
#include <unordered_map>

#include "emulator/machine/ops/decode.h"

namespace emulator {

DecodeFunction decode_function_of(const std::string& opcode) {
  static const std::unordered_map<std::string, DecodeFunction> table = {{"add", decode_arithmetic},
                                                                        {"sub", decode_arithmetic},
                                                                        {"mul", decode_arithmetic},
                                                                        {"mad", decode_arithmetic},
                                                                        {"fma", decode_arithmetic},
                                                                        {"div", decode_arithmetic},
                                                                        {"rem", decode_arithmetic},
                                                                        {"abs", decode_arithmetic},
                                                                        {"neg", decode_arithmetic},
                                                                        {"min", decode_arithmetic},
                                                                        {"max", decode_arithmetic},
                                                                        {"sad", decode_arithmetic},
                                                                        {"copysign", decode_arithmetic},
                                                                        {"ex2", decode_function_unit},
                                                                        {"lg2", decode_function_unit},
                                                                        {"rcp", decode_function_unit},
                                                                        {"rsqrt", decode_function_unit},
                                                                        {"sqrt", decode_function_unit},
                                                                        {"sin", decode_function_unit},
                                                                        {"cos", decode_function_unit},
                                                                        {"tanh", decode_function_unit},
                                                                        {"and", decode_bits},
                                                                        {"or", decode_bits},
                                                                        {"xor", decode_bits},
                                                                        {"not", decode_bits},
                                                                        {"cnot", decode_bits},
                                                                        {"shl", decode_bits},
                                                                        {"shr", decode_bits},
                                                                        {"shf", decode_bits},
                                                                        {"lop3", decode_bits},
                                                                        {"prmt", decode_bits},
                                                                        {"bfe", decode_bits},
                                                                        {"bfi", decode_bits},
                                                                        {"popc", decode_bits},
                                                                        {"clz", decode_bits},
                                                                        {"brev", decode_bits},
                                                                        {"bfind", decode_bits},
                                                                        {"setp", decode_compare},
                                                                        {"selp", decode_select},
                                                                        {"slct", decode_select},
                                                                        {"cvt", decode_convert},
                                                                        {"mov", decode_move},
                                                                        {"cvta", decode_cvta},
                                                                        {"ld", decode_load},
                                                                        {"ldu", decode_load},
                                                                        {"st", decode_store},
                                                                        {"prefetch", decode_prefetch},
                                                                        {"atom", decode_atomic},
                                                                        {"red", decode_atomic},
                                                                        {"shfl", decode_shuffle},
                                                                        {"vote", decode_vote},
                                                                        {"match", decode_vote},
                                                                        {"redux", decode_vote},
                                                                        {"activemask", decode_vote},
                                                                        {"bar", decode_barrier},
                                                                        {"barrier", decode_barrier},
                                                                        {"membar", decode_fence},
                                                                        {"fence", decode_fence},
                                                                        {"cp", decode_copy_async},
                                                                        {"ldmatrix", decode_ldmatrix},
                                                                        {"mma", decode_mma}};
  const auto found = table.find(opcode);
  return found == table.end() ? nullptr : found->second;
}

}  // namespace emulator

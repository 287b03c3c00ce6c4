// add, sub, mul, ...: one word for all types. The type decides which file knows the instruction.
#include "emulator/machine/ops/decode.h"

namespace emulator {

void decode_arithmetic(Decoder& d, Instruction& i) {
  const std::string& op = d.statement().opcode[0];
  for (const auto& word : d.statement().opcode) {
    if (word == "cc") return decode_carry(d, i);
  }
  const ptx::ScalarType type = d.take_type();
  if (!type.is_float()) {
    decode_integer(d, i, op, type);
  } else if (type.bits == 16) {
    decode_half(d, i, op, type);
  } else if (type.bits == 64) {
    decode_double(d, i, op, type);
  } else {
    decode_float(d, i, op, type);
  }
}

}  // namespace emulator

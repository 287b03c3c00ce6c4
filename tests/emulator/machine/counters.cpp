#include <numeric>

#include "emulator/machine/machine.h"

namespace emulator {

const char* name_of(InstructionClass c) {
  static constexpr const char* kNames[] = {
      "integer",      "float",      "half",        "double", "special function", "convert",      "move",
      "predicate",    "control",    "barrier",     "warp",   "load global",      "store global", "load shared",
      "store shared", "load other", "store other", "atomic", "async copy",       "matrix load",  "tensor"};
  static_assert(std::size(kNames) == static_cast<size_t>(InstructionClass::kCount));
  return kNames[static_cast<size_t>(c)];
}

uint64_t Counters::total() const { return std::accumulate(instructions.begin(), instructions.end(), uint64_t{0}); }

Counters& Counters::operator+=(const Counters& other) {
  for (size_t c = 0; c < instructions.size(); ++c) instructions[c] += other.instructions[c];
  shared_wavefronts += other.shared_wavefronts;
  shared_wavefronts_ideal += other.shared_wavefronts_ideal;
  global_sectors += other.global_sectors;
  global_sectors_ideal += other.global_sectors_ideal;
  global_bytes_read += other.global_bytes_read;
  global_bytes_written += other.global_bytes_written;
  barriers += other.barriers;
  tensor_flops += other.tensor_flops;
  return *this;
}

}  // namespace emulator

#include "emulator/runtime/counters.h"

#include <sstream>

namespace emulator::runtime {
namespace {

std::string dim3_json(Dim3 d) {
  return '[' + std::to_string(d.x) + ", " + std::to_string(d.y) + ", " + std::to_string(d.z) + ']';
}

}  // namespace

std::string counters_json(const std::string& kernel, const LaunchConfig& config, const Counters& counters) {
  std::ostringstream out;
  out << R"({"kernel": ")" << kernel << R"(", "grid": )" << dim3_json(config.grid) << R"(, "block": )"
      << dim3_json(config.block) << R"(, "dynamic_shared": )" << config.dynamic_shared << R"(, "seed": )" << config.seed
      << R"(, "instructions": {)";
  for (size_t i = 0; i < counters.instructions.size(); ++i) {
    out << (i == 0 ? "\"" : ", \"") << name_of(static_cast<InstructionClass>(i)) << "\": " << counters.instructions[i];
  }
  out << R"(}, "shared_wavefronts": )" << counters.shared_wavefronts << R"(, "shared_wavefronts_ideal": )"
      << counters.shared_wavefronts_ideal << R"(, "global_sectors": )" << counters.global_sectors
      << R"(, "global_sectors_ideal": )" << counters.global_sectors_ideal << R"(, "global_bytes_read": )"
      << counters.global_bytes_read << R"(, "global_bytes_written": )" << counters.global_bytes_written
      << R"(, "barriers": )" << counters.barriers << R"(, "tensor_flops": )" << counters.tensor_flops << '}';
  return out.str();
}

}  // namespace emulator::runtime

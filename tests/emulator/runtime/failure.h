// How a call of the emulated runtime fails: a CUDA error code, and words for the report.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

namespace emulator::runtime {

/// Thrown inside a call, returned by it as `code`. Empty text: nothing for the report, the program did nothing wrong.
struct Failure {
  cudaError_t code;
  std::string text;
};

inline void require(bool condition, cudaError_t code, const char* text) {
  if (!condition) throw Failure{code, text};
}

}  // namespace emulator::runtime

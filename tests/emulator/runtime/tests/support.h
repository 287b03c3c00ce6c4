// What the tests of the emulated runtime share: a fresh device for each case, arrays on it, and its report.
#pragma once

#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "emulator/runtime/control.h"

#define CHECK_CUDA(call) CHECK(std::string(cudaGetErrorName(call)) == "cudaSuccess")
#define CHECK_ERROR(call, code) CHECK(taken(call) == #code)

/// The name of an error that was expected; CUDA forgets it, or the next launcher would take it for its own.
inline std::string taken(cudaError_t code) {
  cudaGetLastError();
  return cudaGetErrorName(code);
}

inline std::string take_report() {
  std::string text(emulator_take_report(nullptr, 0) + 1, '\0');
  text.resize(emulator_take_report(text.data(), text.size()));
  return text;
}

inline std::string take_counters() {
  std::string text(emulator_take_counters(nullptr, 0) + 1, '\0');
  text.resize(emulator_take_counters(text.data(), text.size()));
  return text;
}

/// A test case's device: fresh, and without complaints at the end.
struct FreshDevice {
  FreshDevice() {
    emulator_reset();
    cudaGetLastError();
  }
  ~FreshDevice() { CHECK(take_report() == ""); }
};

/// The next check of the report expects these words in it, and takes it.
inline void check_report_has(const std::string& words) {
  const std::string report = take_report();
  CHECK_MESSAGE(report.find(words) != std::string::npos, "expected '", words, "' in: ", report);
}

template <class T>
T* on_device(const std::vector<T>& values) {
  void* address = nullptr;
  CHECK_CUDA(cudaMalloc(&address, values.size() * sizeof(T)));
  CHECK_CUDA(cudaMemcpy(address, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
  return static_cast<T*>(address);
}

template <class T>
std::vector<T> from_device(const T* address, size_t count) {
  std::vector<T> values(count);
  CHECK_CUDA(cudaMemcpy(values.data(), address, count * sizeof(T), cudaMemcpyDeviceToHost));
  return values;
}

inline std::vector<float> random_floats(size_t count, unsigned seed) {
  std::vector<float> values(count);
  for (float& value : values) {
    seed = seed * 1664525 + 1013904223;
    value = static_cast<float>(seed >> 8) / (1 << 24) - 0.5F;
  }
  return values;
}

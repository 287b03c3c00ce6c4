// The tensor-core GEMM of kernels/mma_gemm.cu, launched on random matrices and compared with a float64 loop.
#pragma once

#include <cmath>
#include <fstream>
#include <iterator>

#include "emulator/tests/support.h"

namespace emulator::test {

/// What nvcc made of kernels/NAME.cu.
inline std::string compiled(const std::string& name) {
  std::ifstream file(std::string(EMULATOR_TEST_PTX) + "/" + name + ".ptx");
  REQUIRE_MESSAGE(file.good(), "no PTX of " << name);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Gemm {
  int M, N, K;
  std::vector<uint16_t> a, b;       // bf16, [M][K] and [N][K]
  std::vector<double> c, absolute;  // the result, and the sum of the magnitudes of its terms

  Gemm(int m, int n, int k)
      : M(m), N(n), K(k), a(size_t(m) * k), b(size_t(n) * k), c(size_t(m) * n), absolute(size_t(m) * n) {
    for (auto* v : {&a, &b}) {
      for (auto& x : *v) x = bf16_bits(std::uniform_real_distribution<float>(-1, 1)(generator()));
    }
    for (int i = 0; i < M; ++i) {
      for (int j = 0; j < N; ++j) {
        for (int l = 0; l < K; ++l) {
          const double term = double{bf16_value(a[size_t(i) * K + l])} * bf16_value(b[size_t(j) * K + l]);
          c[size_t(i) * N + j] += term;
          absolute[size_t(i) * N + j] += std::abs(term);
        }
      }
    }
  }

  struct Outcome {
    Report report;
    bool right = true;
  };
  /// Right is within the rounding of K additions in fp32; NaN is wrong.
  Outcome run(const Module& module, uint64_t seed, int threads = 1) const {
    DeviceMemory memory;
    const uint64_t out = memory.allocate(c.size() * 4);
    Arguments arguments;
    arguments << M << N << K << upload(memory, a) << upload(memory, b) << out;
    LaunchConfig config{.grid = {uint32_t(N + 63) / 64, uint32_t(M + 63) / 64}, .block = {128}};
    config.dynamic_shared = 3 * 2 * 4096;
    config.seed = seed;
    config.num_threads = threads;
    Outcome outcome;
    outcome.report = launch(module, "mma_gemm", config, arguments.data(), memory);
    const auto got = download<float>(memory, out, c.size());
    for (size_t i = 0; i < c.size(); ++i) {
      outcome.right &= std::abs(got[i] - c[i]) <= absolute[i] * (K + 1) * 0x1p-24;
    }
    return outcome;
  }
};

}  // namespace emulator::test

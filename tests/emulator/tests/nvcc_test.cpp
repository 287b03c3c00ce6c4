// Kernels in plain CUDA, as nvcc compiled them, against loops on the host; several seeds each.
#include <numeric>

#include "emulator/tests/gemm.h"

namespace emulator::test {
namespace {

const Module& simple() {
  static const auto module = Module::parse(compiled("simple"));
  return *module;
}

Report run_simple(const std::string& name, Dim3 grid, Dim3 block, const Arguments& arguments, DeviceMemory& memory,
                  uint64_t seed = 0, size_t shared = 0) {
  LaunchConfig config{.grid = grid, .block = block, .dynamic_shared = shared, .seed = seed, .num_threads = 2};
  Report report = launch(simple(), name, config, arguments.data(), memory);
  for (const auto& error : report.errors) FAIL_CHECK(error);
  return report;
}

TEST_CASE("saxpy") {
  DeviceMemory memory;
  const auto x = random_floats(1000), y = random_floats(1000);
  const uint64_t out = upload(memory, y);
  Arguments arguments;
  arguments << 1000 << 2.5f << upload(memory, x) << out;
  const Report report = run_simple("saxpy", {4}, {256}, arguments, memory);
  const auto got = download<float>(memory, out, 1000);
  for (int i = 0; i < 1000; ++i) CHECK(got[i] == std::fma(2.5f, x[i], y[i]));
  CHECK(report.counters.global_bytes_read == 8000);
  CHECK(report.counters.global_bytes_written == 4000);
}

TEST_CASE("block_sum: shuffles and shared memory") {
  const auto x = random_floats(5000);
  for (uint64_t seed = 0; seed < 6; ++seed) {
    DeviceMemory memory;
    const uint64_t out = memory.allocate(7 * 4);
    Arguments arguments;
    arguments << 5000 << upload(memory, x) << out;
    run_simple("block_sum", {7}, {256}, arguments, memory, seed);
    const auto sums = download<float>(memory, out, 7);
    const double expected = std::accumulate(x.begin(), x.end(), 0.0);
    CHECK(std::abs(std::accumulate(sums.begin(), sums.end(), 0.0) - expected) < 1e-3);
  }
}

TEST_CASE("tiled_gemm, sizes that do not divide the tiles") {
  const int M = 37, N = 50, K = 41;
  const auto a = random_floats(M * K), b = random_floats(K * N);
  for (uint64_t seed = 0; seed < 4; ++seed) {
    DeviceMemory memory;
    const uint64_t out = memory.allocate(M * N * 4);
    Arguments arguments;
    arguments << M << N << K << upload(memory, a) << upload(memory, b) << out;
    const Report report = run_simple("tiled_gemm", {4, 3}, {16, 16}, arguments, memory, seed);
    CHECK(report.counters.shared_wavefronts >= report.counters.shared_wavefronts_ideal);
    const auto c = download<float>(memory, out, M * N);
    for (int i = 0; i < M; ++i) {
      for (int j = 0; j < N; ++j) {
        double sum = 0;
        for (int k = 0; k < K; ++k) sum += double{a[i * K + k]} * b[k * N + j];
        CHECK(std::abs(c[i * N + j] - sum) < 1e-4);
      }
    }
  }
}

TEST_CASE("the standard library's functions, as nvcc expands them") {
  const int n = 300;
  auto x = random_floats(n, 3.f);
  x[0] = 0.f, x[1] = 50.f, x[2] = -50.f, x[3] = 1e5f, x[4] = 123456.7f;
  DeviceMemory memory;
  const uint64_t out = memory.allocate(8 * n * 4);
  Arguments arguments;
  arguments << n << upload(memory, x) << out;
  run_simple("functions", {3}, {128}, arguments, memory);
  const auto y = download<float>(memory, out, 8 * n);
  double (*const exact[8])(double) = {[](double v) { return std::exp(v); },
                                      [](double v) { return std::tanh(v); },
                                      [](double v) { return std::erf(v); },
                                      [](double v) { return std::log(std::abs(v)); },
                                      [](double v) { return 1 / std::sqrt(std::abs(v)); },
                                      [](double v) { return 1 / v; },
                                      [](double v) { return std::sqrt(std::abs(v)); },
                                      [](double v) { return std::sin(v); }};
  for (int f = 0; f < 8; ++f) {
    for (int i = 0; i < n; ++i) {
      CAPTURE(f);
      CAPTURE(x[i]);
      const double expected = exact[f](x[i]);
      const float got = y[f * n + i];
      const bool beyond = std::isinf(static_cast<float>(expected));
      CHECK((beyond ? got == static_cast<float>(expected)
                    : std::abs(got - expected) <= 1e-6 + 1e-6 * std::abs(expected)));
    }
  }
}

TEST_CASE("collatz: a loop that lanes leave at different times, with a call in it") {
  const int n = 200;
  DeviceMemory memory;
  const uint64_t out = memory.allocate(n * 4);
  Arguments arguments;
  arguments << n << out;
  run_simple("collatz", {2}, {128}, arguments, memory);
  const auto steps = download<int>(memory, out, n);
  for (int i = 0; i < n; ++i) {
    int count = 0;
    for (int v = i + 1; v != 1; ++count) v = v % 2 ? 3 * v + 1 : v / 2;
    CHECK(steps[i] == count);
  }
}

TEST_CASE("histogram: dynamic shared memory and atomics") {
  std::vector<int> x(3000), expected(64);
  for (int& v : x) ++expected[(v = static_cast<int>(generator()() % 1000)) & 63];
  for (uint64_t seed = 0; seed < 4; ++seed) {
    DeviceMemory memory;
    const uint64_t counts = upload(memory, std::vector<int>(64));
    Arguments arguments;
    arguments << 3000 << upload(memory, x) << counts;
    run_simple("histogram", {5}, {96}, arguments, memory, seed, 64 * 4);
    CHECK(download<int>(memory, counts, 64) == expected);
  }
}

TEST_CASE("constant, local and module memory; a struct as an argument") {
  struct Affine {
    float scale, shift[3];
  };
  std::vector<int> index(64);
  for (int& i : index) i = static_cast<int>(generator()() % 16);
  const Affine affine{1.5f, {0.25f, 0.5f, -1.f}};
  DeviceMemory memory;
  const uint64_t out = memory.allocate(32 * 4);
  std::vector<unsigned char> block(32);
  const uint64_t pointers[2] = {upload(memory, index), out};
  std::memcpy(block.data(), &affine, 16);
  std::memcpy(block.data() + 16, pointers, 16);
  const Report report = launch(simple(), "memory_spaces", {.grid = {}, .block = {32}}, block.data(), memory);
  for (const auto& error : report.errors) FAIL_CHECK(error);
  const auto y = download<float>(memory, out, 32);
  const float table[4] = {1, 2, 4, 8};
  for (int t = 0; t < 32; ++t) {
    float scratch[16];
    for (int i = 0; i < 16; ++i) scratch[i] = std::fma(affine.scale, static_cast<float>(i), affine.shift[i % 3]);
    for (int i = 0; i < 4; ++i) scratch[index[t + i]] *= table[index[i] & 3];
    CHECK(y[t] == scratch[index[t]]);
  }
  CHECK(download<int>(memory, memory.variable(simple(), "calls"), 1)[0] == 72);
}

TEST_CASE("mma_gemm: cp.async, ldmatrix, mma.sync; no errors, no bank conflicts, several seeds and threads") {
  const auto module = Module::parse(compiled("mma_gemm"));
  for (const auto& [M, N, K] :
       std::initializer_list<std::array<int, 3>>{{64, 64, 32}, {1, 8, 64}, {65, 127, 96}, {100, 64, 512}}) {
    const Gemm gemm(M, N, K);
    for (uint64_t seed = 0; seed < 3; ++seed) {
      const auto outcome = gemm.run(*module, seed, 1 + static_cast<int>(seed % 2));
      CHECK(outcome.right);
      for (const auto& error : outcome.report.errors) FAIL_CHECK(error);
      const Counters& c = outcome.report.counters;
      CHECK(c.shared_wavefronts == c.shared_wavefronts_ideal);
      CHECK(c.tensor_flops == uint64_t(M + 63) / 64 * 64 * (uint64_t(N + 63) / 64 * 64) * K * 2);
    }
  }
}

TEST_CASE("a seed fixes what happens") {
  const auto module = Module::parse(compiled("mma_gemm"));
  const Gemm gemm(64, 64, 64);
  CHECK(gemm.run(*module, 7).report.counters.instructions == gemm.run(*module, 7).report.counters.instructions);
}

}  // namespace
}  // namespace emulator::test

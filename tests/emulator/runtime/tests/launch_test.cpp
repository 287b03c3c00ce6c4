// Kernels launched from host code with <<<>>>, and what they computed.
#include <utility>

#include "kernels.h"
#include "support.h"

TEST_CASE("saxpy, in several blocks, of which the last is not full") {
  const FreshDevice fresh;
  const int n = 300;
  const auto x = random_floats(n, 1), y = random_floats(n, 2);
  float* const y_device = on_device(y);
  CHECK_CUDA(saxpy(2, on_device(x), y_device, n));
  const auto result = from_device(y_device, n);
  for (int i = 0; i < n; ++i) CHECK(result[i] == doctest::Approx(y[i] + 2 * x[i]).epsilon(1e-6));
}

TEST_CASE("static and dynamic shared memory") {
  const FreshDevice fresh;
  const auto in = random_floats(192, 3);
  float* const out = on_device(in);
  CHECK_CUDA(reverse_runs(on_device(in), out, 3, 64, 64 * sizeof(float)));
  const auto result = from_device(out, 192);
  for (int run = 0; run < 3; ++run) {
    for (int i = 0; i < 64; ++i) CHECK(result[run * 64 + i] == in[run * 64 + 63 - i] + static_cast<float>(run));
  }
}

TEST_CASE("more than 48 KB of shared memory asks for an opt-in") {
  const FreshDevice fresh;
  float* const out = on_device(random_floats(32, 4));
  const size_t much = 100 << 10, without_static = (48 << 10) - sizeof(float);
  CHECK_CUDA(reverse_runs(out, out, 1, 32, without_static));
  CHECK_ERROR(reverse_runs(out, out, 1, 32, without_static + 1), cudaErrorInvalidValue);
  check_report_has("expected at most 49148");
  CHECK_ERROR(reverse_runs(out, out, 1, 32, much), cudaErrorInvalidValue);
  check_report_has("102400 bytes of dynamic shared memory");
  CHECK_CUDA(cudaFuncSetAttribute(reverse_runs_kernel(), cudaFuncAttributeMaxDynamicSharedMemorySize, much));
  CHECK_CUDA(reverse_runs(out, out, 1, 32, much));
  CHECK_CUDA(cudaDeviceSynchronize());
  CHECK_ERROR(reverse_runs(out, out, 1, 32, much + 1), cudaErrorInvalidValue);
  check_report_has("expected at most 102400");

  // 163 KB for a block on sm_80, of which the static variable takes its part.
  const int most = 163 << 10;
  CHECK_ERROR(cudaFuncSetAttribute(reverse_runs_kernel(), cudaFuncAttributeMaxDynamicSharedMemorySize, most),
              cudaErrorInvalidValue);
  check_report_has("static shared memory");
  CHECK_CUDA(cudaFuncSetAttribute(reverse_runs_kernel(), cudaFuncAttributeMaxDynamicSharedMemorySize, most - 16));
  cudaFuncAttributes attributes;
  CHECK_CUDA(cudaFuncGetAttributes(&attributes, reverse_runs_kernel()));
  CHECK(attributes.maxDynamicSharedSizeBytes == most - 16);
  CHECK(attributes.sharedSizeBytes == 4);
}

TEST_CASE("a kernel can be replaced by other PTX, and comes back") {
  const FreshDevice fresh;
  const auto run = [] {
    float* const y = on_device(std::vector<float>(4, 1));
    CHECK_CUDA(saxpy(2, on_device(std::vector<float>(4, 10)), y, 4));
    return from_device(y, 4)[0];
  };
  CHECK(run() == 21);
  const std::string counters = take_counters(), key = "\"kernel\": \"";
  const size_t begin = counters.find(key) + key.size();
  const std::string name = counters.substr(begin, counters.find('"', begin) - begin);
  std::string ptx(emulator_kernel_ptx(name.c_str(), nullptr, 0) + 1, '\0');
  ptx.resize(emulator_kernel_ptx(name.c_str(), ptx.data(), ptx.size()));
  const size_t product = ptx.find("fma.rn.f32");
  REQUIRE(product != std::string::npos);
  const std::string mutant = ptx.replace(product, ptx.find(';', product) - product, "");
  CHECK(emulator_replace_kernel(name.c_str(), mutant.c_str()) == 0);
  CHECK(run() != 21);
  CHECK(emulator_replace_kernel(name.c_str(), nullptr) == 0);
  CHECK(run() == 21);
  CHECK(emulator_kernel_ptx("no_such_kernel", nullptr, 0) == 0);
  CHECK(emulator_replace_kernel(name.c_str(), ".version 9.0 .target sm_80") == 1);
  check_report_has("no kernel");
}

TEST_CASE("a struct between small parameters arrives whole") {
  const FreshDevice fresh;
  float* const out = on_device(std::vector<float>(32, 0));
  CHECK_CUDA(draw_line(20, {-1, 0.5F, 3, 1000, out}, 7));
  const auto result = from_device(out, 32);
  for (int i = 0; i < 32; ++i) CHECK(result[i] == (i < 20 ? -1.5F * static_cast<float>(i) + 1007 : 0));
}

TEST_CASE("constant memory and device variables are set, kept, and reset with the device") {
  const FreshDevice fresh;
  float* const out = on_device(std::vector<float>(8));
  CHECK_CUDA(set_coefficients({3, 0.25F}));
  CHECK_CUDA(evaluate(out, 8));
  CHECK(from_device(out, 8)[6] == 4.5F);
  int value = 0;
  CHECK_CUDA(bump_counter());
  CHECK_CUDA(bump_counter());
  CHECK_CUDA(read_counter(&value));
  CHECK(value == 42);
  CHECK_CUDA(cudaDeviceReset());
  CHECK_CUDA(read_counter(&value));
  CHECK(value == 40);
}

TEST_CASE("two translation units with names in common") {
  const FreshDevice fresh;
  int* const out = on_device(std::vector<int>{0});
  CHECK_CUDA(which_unit_1(out));
  CHECK(from_device(out, 1)[0] == 1);
  CHECK_CUDA(which_unit_2(out));
  CHECK(from_device(out, 1)[0] == 2);
  CHECK_CUDA(add_three_1(out));
  CHECK_CUDA(add_three_2(out));
  CHECK(from_device(out, 1)[0] == 8);
}

TEST_CASE("results do not depend on seed and threads, and each launch leaves its counters") {
  for (const uint64_t seed : {0, 1, 2}) {
    const FreshDevice fresh;
    emulator_set_seed(seed);
    emulator_set_num_threads(static_cast<int>(seed) + 1);
    const auto in = random_floats(256, 5);
    float* const out = on_device(in);
    CHECK_CUDA(reverse_runs(on_device(in), out, 4, 64, 64 * sizeof(float)));
    CHECK(take_counters() == "[]");  // nobody has waited for it yet
    CHECK(from_device(out, 256)[255] == in[192] + 3);
    const std::string counters = take_counters();
    CHECK(counters.find("reverse_kernel") != std::string::npos);
    CHECK(counters.find(R"("grid": [4, 1, 1], "block": [64, 1, 1], "dynamic_shared": 256, "seed": )" +
                        std::to_string(seed)) != std::string::npos);
    CHECK(counters.find(R"("barriers": 4)") != std::string::npos);
    CHECK(take_counters() == "[]");
  }
}

TEST_CASE("occupancy is bounded by threads, blocks and shared memory of the device asked for") {
  const FreshDevice fresh;
  const auto blocks = [](int threads, size_t dynamic_shared) {
    int count = -1;
    CHECK_CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&count, reverse_runs_kernel(), threads, dynamic_shared));
    return count;
  };
  CHECK(blocks(1024, 0) == 2);
  CHECK(blocks(32, 0) == 32);
  CHECK(blocks(128, 40 << 10) == 3);  // of 164 KB, 41 KB and a little for each
  CHECK(blocks(128, 64 << 10) == 0);  // not without the opt-in
  CHECK(emulator_set_compute_capability(86) == 0);
  CHECK(blocks(1024, 0) == 1);
  CHECK(blocks(32, 0) == 16);
  CHECK(blocks(128, 40 << 10) == 2);
  CHECK(emulator_set_compute_capability(70) == 1);
}

TEST_CASE("the device describes itself, the same through both calls") {
  const FreshDevice fresh;
  cudaDeviceProp p;
  CHECK_CUDA(cudaGetDeviceProperties(&p, 0));
  CHECK(std::string(p.name) == "PTX emulator (sm_80)");
  int value = 0;
  CHECK_CUDA(cudaDeviceGetAttribute(&value, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
  CHECK(value == 163 << 10);
  CHECK(p.sharedMemPerBlockOptin == 163 << 10);
  CHECK_CUDA(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, 0));
  CHECK(value == p.multiProcessorCount);
  CHECK_ERROR(cudaDeviceGetAttribute(&value, cudaDevAttrGPUDirectRDMASupported, 0), cudaErrorInvalidValue);
  check_report_has("is not modelled");
}

TEST_CASE("cudaLaunchKernel, cudaLaunchKernelExC and handles launch too") {
  const FreshDevice fresh;
  const auto in = random_floats(32, 6);
  float *from = on_device(in), *to = on_device(in);
  void* arguments[] = {&from, &to};
  CHECK_CUDA(cudaLaunchKernel(reverse_runs_kernel(), dim3(1), dim3(32), arguments, 128, nullptr));
  CHECK(from_device(to, 1)[0] == in[31]);

  cudaKernel_t handle = nullptr;
  CHECK_CUDA(cudaGetKernel(&handle, reverse_runs_kernel()));
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(1);
  config.blockDim = dim3(32);
  config.dynamicSmemBytes = 128;
  std::swap(from, to);
  CHECK_CUDA(cudaLaunchKernelExC(&config, handle, arguments));  // reversed once more
  CHECK(from_device(to, 32) == in);

  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  config.attrs = &attribute;
  config.numAttrs = 1;
  std::swap(from, to);
  CHECK_CUDA(cudaLaunchKernelExC(&config, handle, arguments));
  CHECK(from_device(to, 1)[0] == in[31]);
  attribute.id = cudaLaunchAttributeClusterDimension;
  CHECK_ERROR(cudaLaunchKernelExC(&config, handle, arguments), cudaErrorNotSupported);
  check_report_has("launch attribute");
}

// Launches that are refused, kernels that fail, and what the device is like afterwards.
#include <thread>

#include "kernels.h"
#include "support.h"

namespace {

/// The launch is queued; whoever waits for it gets the error, and so does every call after that.
void check_breaks_device(cudaError_t launched, const char* code, const std::string& words) {
  CHECK_CUDA(launched);
  CHECK(std::string(cudaGetErrorName(cudaDeviceSynchronize())) == code);
  check_report_has(words);
  void* address = nullptr;
  CHECK(std::string(cudaGetErrorName(cudaMalloc(&address, 4))) == code);
  CHECK(std::string(cudaGetErrorName(cudaGetLastError())) == code);
  CHECK(std::string(cudaGetErrorName(cudaGetLastError())) == code);  // it does not go away
  CHECK_CUDA(cudaDeviceReset());
  CHECK_CUDA(cudaMalloc(&address, 4));
  CHECK_CUDA(cudaGetLastError());
}

}  // namespace

TEST_CASE("shapes that no device takes") {
  const FreshDevice fresh;
  float* const x = on_device(std::vector<float>(64, 0));
  void* arguments[] = {nullptr, nullptr};
  float* pointer = x;
  arguments[0] = arguments[1] = &pointer;
  const auto launch = [&](dim3 grid, dim3 block) {
    return cudaLaunchKernel(reverse_runs_kernel(), grid, block, arguments, 0, nullptr);
  };
  for (const dim3 block : {dim3(1025), dim3(0), dim3(32, 33), dim3(1, 1, 65), dim3(1U << 31, 2)}) {
    CHECK_ERROR(launch(1, block), cudaErrorInvalidConfiguration);
    check_report_has("block");
  }
  for (const dim3 grid : {dim3(0), dim3(1, 65536), dim3(1, 1, 65536), dim3(1U << 31)}) {
    CHECK_ERROR(launch(grid, 1), cudaErrorInvalidConfiguration);
    check_report_has("grid");
  }
  CHECK_ERROR(add_within_bounds(x, 1, 65), cudaErrorInvalidValue);
  check_report_has("launch bounds");
  CHECK_CUDA(add_within_bounds(x, 1, 64));
  CHECK_CUDA(cudaDeviceSynchronize());  // a refused launch harms nothing
}

TEST_CASE("functions that are no kernels, devices that are not there") {
  const FreshDevice fresh;
  int value = 0;
  CHECK_ERROR(cudaLaunchKernel(&value, 1, 1, nullptr, 0, nullptr), cudaErrorInvalidDeviceFunction);
  check_report_has("no kernel");
  CHECK_ERROR(cudaFuncSetAttribute(&value, cudaFuncAttributeMaxDynamicSharedMemorySize, 1),
              cudaErrorInvalidDeviceFunction);
  check_report_has("no kernel");
  CHECK_ERROR(cudaMemcpyToSymbol(&value, &value, 4, 0, cudaMemcpyHostToDevice), cudaErrorInvalidSymbol);
  check_report_has("cudaMemcpyToSymbol");
  CHECK_ERROR(cudaSetDevice(1), cudaErrorInvalidDevice);
  check_report_has("one device");
  CHECK_CUDA(cudaSetDevice(0));
}

TEST_CASE("a kernel that is given a host pointer") {
  const FreshDevice fresh;
  float host = 1;
  float* const out = on_device(std::vector<float>{0});
  check_breaks_device(read_behind(&host, 0, out), "cudaErrorIllegalAddress", "read_kernel");
}

TEST_CASE("a kernel that reads behind the end, and one that reads freed memory") {
  const FreshDevice fresh;
  check_breaks_device(read_behind(on_device(std::vector<float>(8, 1)), 32, on_device(std::vector<float>{0})),
                      "cudaErrorIllegalAddress", "read_kernel");
  float* const freed = on_device(std::vector<float>(8, 1));
  CHECK_CUDA(cudaFree(freed));
  check_breaks_device(read_behind(freed, 0, on_device(std::vector<float>{0})), "cudaErrorIllegalAddress",
                      "read_kernel");
}

TEST_CASE("a kernel that reads at an odd address") {
  const FreshDevice fresh;
  check_breaks_device(read_behind(on_device(std::vector<float>(8, 1)), 2, on_device(std::vector<float>{0})),
                      "cudaErrorMisalignedAddress", "read_kernel");
}

TEST_CASE("a race, which a real device would not notice, stops the launch too") {
  const FreshDevice fresh;
  check_breaks_device(race(on_device(std::vector<float>{0})), "cudaErrorLaunchFailure", "race_kernel");
}

TEST_CASE("memory freed between a queued copy and its turn") {
  const FreshDevice fresh;
  cudaStream_t first, second;
  CHECK_CUDA(cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking));
  CHECK_CUDA(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking));
  float *const a = on_device(std::vector<float>(8, 1)), *const b = on_device(std::vector<float>(8, 1));
  CHECK_CUDA(cudaMemcpyAsync(a, b, 32, cudaMemcpyDeviceToDevice, first));
  CHECK_CUDA(cudaFreeAsync(b, second));  // and no event
  CHECK_CUDA(cudaStreamSynchronize(second));
  CHECK_ERROR(cudaStreamSynchronize(first), cudaErrorIllegalAddress);
  check_report_has("a queued copy");
  CHECK_ERROR(cudaStreamSynchronize(second), cudaErrorIllegalAddress);  // the device is broken
}

TEST_CASE("work behind a failure is dropped, and a reset gives back all of it") {
  const FreshDevice fresh;
  cudaStream_t stream;
  CHECK_CUDA(cudaStreamCreate(&stream));
  float* const x = on_device(std::vector<float>{1});
  CHECK_CUDA(read_behind(x, 4, x, stream));
  CHECK_CUDA(saxpy(1, x, x, 1, stream));
  CHECK_ERROR(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
  take_report();
  emulator_reset();
  CHECK_ERROR(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
  check_report_has("the stream does not exist");
  CHECK_ERROR(cudaFree(x), cudaErrorInvalidValue);
  check_report_has("cudaFree");
}

TEST_CASE("the last error belongs to a thread and is forgotten once told") {
  const FreshDevice fresh;
  CHECK(cudaSetDevice(5) == cudaErrorInvalidDevice);
  check_report_has("one device");
  CHECK_CUDA(cudaSetDevice(0));  // a call that succeeds clears nothing
  CHECK(cudaPeekAtLastError() == cudaErrorInvalidDevice);
  std::thread([] { CHECK_CUDA(cudaGetLastError()); }).join();
  CHECK(cudaGetLastError() == cudaErrorInvalidDevice);
  CHECK_CUDA(cudaGetLastError());
  CHECK(std::string(cudaGetErrorString(cudaErrorInvalidDevice)) == "invalid device ordinal");
  CHECK(std::string(cudaGetErrorName(static_cast<cudaError_t>(12345))) == "unrecognized error code");
}

TEST_CASE("a report that does not fit is kept") {
  const FreshDevice fresh;
  CHECK_ERROR(cudaSetDevice(5), cudaErrorInvalidDevice);
  char small[4] = "";
  const size_t length = emulator_take_report(small, sizeof small);
  CHECK(length > sizeof small);
  CHECK(std::string(small).empty());
  CHECK(take_report().size() == length);
}

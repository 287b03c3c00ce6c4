// Allocations, copies and fills.
#include <cmath>

#include "kernels.h"
#include "support.h"

TEST_CASE("device memory begins as NaN, and counts against the limit") {
  const FreshDevice fresh;
  emulator_set_memory_limit(1 << 20);
  void *a = nullptr, *b = nullptr;
  CHECK_CUDA(cudaMalloc(&a, 600 << 10));
  CHECK(std::isnan(from_device(static_cast<const float*>(a), 1)[0]));
  CHECK(cudaMalloc(&b, 600 << 10) == cudaErrorMemoryAllocation);
  CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
  CHECK_CUDA(cudaGetLastError());  // running out of memory harms nothing
  size_t free = 0, total = 0;
  CHECK_CUDA(cudaMemGetInfo(&free, &total));
  CHECK(total == 1 << 20);
  CHECK(free == 424 << 10);
  CHECK_CUDA(cudaFree(a));
  CHECK_CUDA(cudaMalloc(&b, 600 << 10));
  CHECK_CUDA(cudaFree(b));
  CHECK_CUDA(cudaFree(nullptr));
  CHECK_CUDA(cudaMalloc(&b, 0));
  CHECK(b == nullptr);
}

TEST_CASE("frees of what is not there") {
  const FreshDevice fresh;
  float* const a = on_device(random_floats(64, 1));
  float host = 0;
  void* pinned = nullptr;
  CHECK_CUDA(cudaMallocHost(&pinned, 64));
  for (void* wrong : {static_cast<void*>(&host), static_cast<void*>(a + 1), pinned}) {
    CHECK_ERROR(cudaFree(wrong), cudaErrorInvalidValue);
    check_report_has("not the beginning of device memory");
  }
  CHECK_ERROR(cudaFreeHost(a), cudaErrorInvalidValue);
  check_report_has("pinned host memory");
  CHECK_CUDA(cudaFree(a));
  CHECK_ERROR(cudaFree(a), cudaErrorInvalidValue);
  check_report_has("cudaFree");
  CHECK_CUDA(cudaFreeHost(pinned));
  CHECK_ERROR(cudaFreeHost(pinned), cudaErrorInvalidValue);
  check_report_has("cudaFreeHost");
}

TEST_CASE("cudaFree waits for what may still use the memory") {
  const FreshDevice fresh;
  cudaStream_t stream;
  CHECK_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  float* const values = on_device(std::vector<float>(64, 1));
  CHECK_CUDA(add_within_bounds(values, 5, 64, stream));
  CHECK_CUDA(cudaFree(values));
  CHECK_CUDA(cudaStreamSynchronize(stream));
}

TEST_CASE("stream-ordered allocation: kernels queued before the free may use it, later calls may not") {
  const FreshDevice fresh;
  cudaStream_t stream;
  CHECK_CUDA(cudaStreamCreate(&stream));
  void* address = nullptr;
  CHECK_CUDA(cudaMallocAsync(&address, 256, stream));
  float* const values = static_cast<float*>(address);
  float* const result = on_device(std::vector<float>(64, 1));
  CHECK_CUDA(cudaMemsetAsync(values, 0, 256, stream));
  CHECK_CUDA(add_within_bounds(values, 5, 64, stream));
  CHECK_CUDA(cudaMemcpyAsync(result, values, 256, cudaMemcpyDeviceToDevice, stream));
  CHECK_CUDA(cudaFreeAsync(values, stream));
  CHECK_ERROR(cudaFreeAsync(values, stream), cudaErrorInvalidValue);
  check_report_has("cudaFreeAsync");
  CHECK_ERROR(cudaMemsetAsync(values, 0, 256, stream), cudaErrorInvalidValue);
  check_report_has("cudaMemsetAsync");
  CHECK_CUDA(cudaStreamSynchronize(stream));
  CHECK(from_device(result, 64)[63] == 5);
}

TEST_CASE("copies of rows, and of rows wider than the pitch") {
  const FreshDevice fresh;
  const std::vector<int> source{0, 1, 2, 3, 4, 5, 6, 7, 8};
  int* const device = on_device(std::vector<int>(12, -1));
  CHECK_CUDA(cudaMemcpy2D(device, 16, source.data(), 12, 8, 3, cudaMemcpyHostToDevice));
  CHECK(from_device(device, 12) == std::vector<int>{0, 1, -1, -1, 3, 4, -1, -1, 6, 7, -1, -1});
  CHECK_ERROR(cudaMemcpy2D(device, 4, source.data(), 12, 8, 3, cudaMemcpyHostToDevice), cudaErrorInvalidPitchValue);
  check_report_has("pitch");
  CHECK_ERROR(cudaMemcpy2D(device, 16, source.data(), 12, 8, 4, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  check_report_has("cudaMemcpy2D");
  std::vector<int> rows(8);
  CHECK_ERROR(cudaMemcpy2D(rows.data(), 8, device, 16, 8, 4, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  check_report_has("cudaMemcpy2D");
}

TEST_CASE("copies to the wrong side, beyond the end, or of freed memory") {
  const FreshDevice fresh;
  float* const device = on_device(random_floats(16, 2));
  float* const freed = on_device(random_floats(16, 3));
  CHECK_CUDA(cudaFree(freed));
  float host[32] = {};
  CHECK_ERROR(cudaMemcpy(host, host + 16, 64, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  check_report_has("the target is not where");
  CHECK_ERROR(cudaMemcpy(device, host, 64, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  check_report_has("the source is not where");
  CHECK_ERROR(cudaMemcpy(device, host, 68, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  check_report_has("cudaMemcpy");
  CHECK_ERROR(cudaMemcpy(device + 8, host, 64, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  check_report_has("cudaMemcpy");
  CHECK_ERROR(cudaMemcpy(freed, host, 64, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  check_report_has("freed device memory");
  CHECK_ERROR(cudaMemset(host, 0, 64), cudaErrorInvalidValue);
  check_report_has("cudaMemset");
  CHECK_ERROR(cudaMemcpy(device, host, 64, static_cast<cudaMemcpyKind>(7)), cudaErrorInvalidMemcpyDirection);
  check_report_has("kind");
  CHECK_CUDA(cudaMemcpy(device, host, 64, cudaMemcpyDefault));
  CHECK(from_device(device, 16) == std::vector<float>(16, 0));
}

TEST_CASE("an asynchronous copy takes pageable memory at once, and pinned memory late") {
  const FreshDevice fresh;
  cudaStream_t stream;
  CHECK_CUDA(cudaStreamCreate(&stream));
  int* const device = on_device(std::vector<int>{0, 0});
  void* memory = nullptr;
  CHECK_CUDA(cudaHostAlloc(&memory, 2 * sizeof(int), cudaHostAllocDefault));
  int* const pinned = static_cast<int*>(memory);
  int pageable = 1;
  pinned[0] = 1;
  CHECK_CUDA(cudaMemcpyAsync(device, &pageable, sizeof(int), cudaMemcpyHostToDevice, stream));
  CHECK_CUDA(cudaMemcpyAsync(device + 1, pinned, sizeof(int), cudaMemcpyHostToDevice, stream));
  pageable = 2;
  pinned[0] = 2;  // a bug: the copy may not have read it
  CHECK_CUDA(cudaMemcpyAsync(pinned + 1, device, sizeof(int), cudaMemcpyDeviceToHost, stream));
  CHECK(pinned[1] == -1);  // poison: nobody has waited
  CHECK_CUDA(cudaStreamSynchronize(stream));
  CHECK(pinned[1] == 1);
  CHECK(from_device(device, 2) == std::vector<int>{1, 2});
  CHECK_CUDA(cudaFreeHost(pinned));
}

TEST_CASE("a pointer says where it points to") {
  const FreshDevice fresh;
  float* const device = on_device(random_floats(4, 4));
  void* pinned = nullptr;
  CHECK_CUDA(cudaMallocHost(&pinned, 64));
  const auto type = [](const void* address) {
    cudaPointerAttributes attributes;
    CHECK_CUDA(cudaPointerGetAttributes(&attributes, address));
    return attributes.type;
  };
  CHECK(type(device + 3) == cudaMemoryTypeDevice);
  CHECK(type(static_cast<char*>(pinned) + 63) == cudaMemoryTypeHost);
  CHECK(type(&pinned) == cudaMemoryTypeUnregistered);
}

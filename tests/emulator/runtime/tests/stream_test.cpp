// The order of work: what streams and events promise, and that nothing more is given.
#include <set>
#include <thread>

#include "kernels.h"
#include "support.h"

namespace {

cudaStream_t new_stream(unsigned flags = cudaStreamDefault) {
  cudaStream_t stream = nullptr;
  CHECK_CUDA(cudaStreamCreateWithFlags(&stream, flags));
  return stream;
}

cudaEvent_t new_event() {
  cudaEvent_t event = nullptr;
  CHECK_CUDA(cudaEventCreate(&event));
  return event;
}

/// Doubles x in one stream and adds 1 in another, and what comes out. `ordered`: the second waits for the first.
float double_then_add(bool ordered) {
  float* const x = on_device(std::vector<float>{3});
  cudaStream_t first = new_stream(), second = new_stream();
  const cudaEvent_t doubled = new_event();
  CHECK_CUDA(saxpy(1, x, x, 1, first));
  CHECK_CUDA(cudaEventRecord(doubled, first));
  if (ordered) CHECK_CUDA(cudaStreamWaitEvent(second, doubled));
  CHECK_CUDA(add_within_bounds(x, 1, 1, second));
  CHECK_CUDA(cudaDeviceSynchronize());
  return from_device(x, 1)[0];
}

}  // namespace

TEST_CASE("a stream keeps its order, and a host that polls makes progress") {
  const FreshDevice fresh;
  const cudaStream_t stream = new_stream();
  float* const x = on_device(std::vector<float>{1});
  for (int i = 0; i < 3; ++i) {
    CHECK_CUDA(saxpy(1, x, x, 1, stream));
    CHECK_CUDA(add_within_bounds(x, 1, 1, stream));
  }
  int polls = 0;
  while (cudaStreamQuery(stream) == cudaErrorNotReady) ++polls;
  CHECK(polls == 5);
  CHECK_ERROR(cudaGetLastError(), cudaErrorNotReady);
  CHECK(from_device(x, 1)[0] == 15);
  CHECK_CUDA(cudaStreamDestroy(stream));
}

TEST_CASE("without an event some seed shows the other order; with one, none does") {
  std::set<float> unordered, ordered;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const FreshDevice fresh;
    emulator_set_seed(seed);
    unordered.insert(double_then_add(false));
    ordered.insert(double_then_add(true));
  }
  CHECK(unordered == std::set<float>{7, 8});
  CHECK(ordered == std::set<float>{7});
}

TEST_CASE("the default stream comes between blocking streams, and past the others") {
  std::set<float> blocking, non_blocking;
  for (uint64_t seed = 0; seed < 32; ++seed) {
    for (const unsigned flags : {unsigned{cudaStreamDefault}, unsigned{cudaStreamNonBlocking}}) {
      const FreshDevice fresh;
      emulator_set_seed(seed);
      float* const x = on_device(std::vector<float>{3});
      const cudaStream_t stream = new_stream(flags);
      CHECK_CUDA(saxpy(1, x, x, 1, stream));
      CHECK_CUDA(add_within_bounds(x, 1, 1));
      CHECK_CUDA(saxpy(1, x, x, 1, stream));
      CHECK_CUDA(cudaDeviceSynchronize());
      (flags == cudaStreamDefault ? blocking : non_blocking).insert(from_device(x, 1)[0]);
    }
  }
  CHECK(blocking == std::set<float>{14});
  CHECK(non_blocking == std::set<float>{13, 14, 16});
}

TEST_CASE("events: done, not done, never recorded, and the time between two") {
  const FreshDevice fresh;
  const cudaStream_t stream = new_stream();
  const cudaEvent_t start = new_event(), end = new_event(), never = new_event();
  float* const x = on_device(std::vector<float>{1});
  float milliseconds = -1;
  CHECK_CUDA(cudaEventRecord(start, stream));
  CHECK_CUDA(saxpy(1, x, x, 1, stream));
  CHECK_CUDA(cudaEventRecord(end, stream));
  CHECK_ERROR(cudaEventElapsedTime(&milliseconds, start, end), cudaErrorNotReady);
  CHECK_CUDA(cudaEventQuery(start));
  CHECK_ERROR(cudaEventQuery(end), cudaErrorNotReady);
  CHECK_CUDA(cudaEventSynchronize(end));
  CHECK_CUDA(cudaEventElapsedTime(&milliseconds, start, end));
  CHECK(milliseconds >= 0);
  CHECK_CUDA(cudaEventQuery(never));
  CHECK_CUDA(cudaEventSynchronize(never));
  CHECK_CUDA(cudaStreamWaitEvent(stream, never));
  CHECK_ERROR(cudaEventElapsedTime(&milliseconds, start, never), cudaErrorInvalidResourceHandle);
  check_report_has("never recorded");

  cudaEvent_t untimed = nullptr;
  CHECK_CUDA(cudaEventCreateWithFlags(&untimed, cudaEventDisableTiming));
  CHECK_CUDA(cudaEventRecord(untimed, stream));
  CHECK_CUDA(cudaEventSynchronize(untimed));
  CHECK_ERROR(cudaEventElapsedTime(&milliseconds, start, untimed), cudaErrorInvalidResourceHandle);
  check_report_has("without timing");
  CHECK_CUDA(cudaEventDestroy(untimed));
  CHECK_ERROR(cudaEventRecord(untimed, stream), cudaErrorInvalidResourceHandle);
  check_report_has("the event does not exist");
}

TEST_CASE("streams that are gone or never were") {
  const FreshDevice fresh;
  float* const x = on_device(std::vector<float>{1});
  const cudaStream_t stream = new_stream();
  CHECK_CUDA(saxpy(1, x, x, 1, stream));
  CHECK_CUDA(cudaStreamDestroy(stream));  // what it holds still runs
  CHECK(from_device(x, 1)[0] == 2);
  CHECK_ERROR(saxpy(1, x, x, 1, stream), cudaErrorInvalidResourceHandle);
  check_report_has("the stream was destroyed");
  CHECK_ERROR(cudaStreamSynchronize(reinterpret_cast<cudaStream_t>(uintptr_t{0xdead0})),
              cudaErrorInvalidResourceHandle);
  check_report_has("the stream does not exist");
  CHECK_ERROR(cudaStreamDestroy(nullptr), cudaErrorInvalidResourceHandle);
  check_report_has("the default stream");
  CHECK(from_device(x, 1)[0] == 2);
}

TEST_CASE("priorities are given and taken back") {
  const FreshDevice fresh;
  int least = 0, greatest = 0, priority = 0;
  CHECK_CUDA(cudaDeviceGetStreamPriorityRange(&least, &greatest));
  cudaStream_t stream = nullptr;
  CHECK_CUDA(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest));
  CHECK_CUDA(cudaStreamGetPriority(stream, &priority));
  CHECK(priority == greatest);
  unsigned flags = 0;
  CHECK_CUDA(cudaStreamGetFlags(stream, &flags));
  CHECK(flags == cudaStreamNonBlocking);
}

TEST_CASE("several host threads, each with a stream of its own") {
  const FreshDevice fresh;
  std::vector<float> results(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < results.size(); ++t) {
    threads.emplace_back([&results, t] {
      cudaStream_t stream = nullptr;
      void* x = nullptr;
      cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
      cudaMalloc(&x, sizeof(float));
      cudaMemsetAsync(x, 0, sizeof(float), stream);
      for (size_t i = 0; i < 20; ++i) add_within_bounds(static_cast<float*>(x), static_cast<float>(t), 1, stream);
      cudaMemcpyAsync(&results[t], x, sizeof(float), cudaMemcpyDeviceToHost, stream);
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(results == std::vector<float>{0, 20, 40, 60});
}

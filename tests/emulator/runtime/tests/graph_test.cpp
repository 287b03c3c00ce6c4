// Stream capture, graphs and their replay, and what may not happen during a capture.
#include <set>
#include <thread>

#include "kernels.h"
#include "support.h"

namespace {

struct Captured {
  cudaStream_t stream = nullptr, other = nullptr;
  cudaEvent_t fork = nullptr, join = nullptr;
  float* x = nullptr;

  explicit Captured(cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal) {
    x = on_device(std::vector<float>{1, 1});
    CHECK_CUDA(cudaStreamCreate(&stream));
    CHECK_CUDA(cudaStreamCreate(&other));
    CHECK_CUDA(cudaEventCreate(&fork));
    CHECK_CUDA(cudaEventCreate(&join));
    CHECK_CUDA(cudaStreamBeginCapture(stream, mode));
  }

  void check_end_is_invalidated() {
    cudaGraph_t graph = nullptr;
    CHECK_ERROR(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
    CHECK(graph == nullptr);
    check_report_has("spoilt");
    CHECK_CUDA(saxpy(1, x, x, 1, stream));  // the stream is usable again
    CHECK_CUDA(cudaStreamSynchronize(stream));
  }

  cudaGraphExec_t end() {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    CHECK_CUDA(cudaStreamEndCapture(stream, &graph));
    CHECK_CUDA(cudaGraphInstantiate(&exec, graph, 0));
    CHECK_CUDA(cudaGraphDestroy(graph));
    return exec;
  }
};

}  // namespace

TEST_CASE("a captured stream runs nothing until its graph is launched, then as often as it is") {
  const FreshDevice fresh;
  Captured captured;
  cudaStreamCaptureStatus status;
  CHECK_CUDA(cudaStreamIsCapturing(captured.stream, &status));
  CHECK(status == cudaStreamCaptureStatusActive);
  CHECK_CUDA(saxpy(1, captured.x, captured.x, 1, captured.stream));
  CHECK_CUDA(cudaMemcpyAsync(captured.x + 1, captured.x, 4, cudaMemcpyDeviceToDevice, captured.stream));
  CHECK_CUDA(add_within_bounds(captured.x, 1, 1, captured.stream));
  const cudaGraphExec_t exec = captured.end();
  CHECK(from_device(captured.x, 2) == std::vector<float>{1, 1});
  CHECK_CUDA(cudaGraphLaunch(exec, captured.stream));
  CHECK_CUDA(cudaGraphLaunch(exec, captured.stream));
  CHECK_CUDA(cudaStreamSynchronize(captured.stream));
  CHECK(from_device(captured.x, 2) == std::vector<float>{7, 6});
  CHECK_CUDA(cudaGraphExecDestroy(exec));
  CHECK_ERROR(cudaGraphLaunch(exec, captured.stream), cudaErrorInvalidResourceHandle);
  check_report_has("the executable graph does not exist");
}

TEST_CASE("a captured copy reads the host's memory at each launch") {
  const FreshDevice fresh;
  Captured captured;
  float input = 0;
  CHECK_CUDA(cudaMemcpyAsync(captured.x, &input, 4, cudaMemcpyHostToDevice, captured.stream));
  const cudaGraphExec_t exec = captured.end();
  for (const float value : {5.0F, 6.0F}) {
    input = value;
    CHECK_CUDA(cudaGraphLaunch(exec, captured.stream));
    CHECK(from_device(captured.x, 1)[0] == value);
  }
}

TEST_CASE("a second stream joins a capture by an event, and its order is that of the events alone") {
  std::set<float> with_join, without;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    for (const bool wait_first : {true, false}) {
      const FreshDevice fresh;
      emulator_set_seed(seed);
      Captured captured;
      CHECK_CUDA(cudaEventRecord(captured.fork, captured.stream));
      CHECK_CUDA(cudaStreamWaitEvent(captured.other, captured.fork));
      CHECK_CUDA(saxpy(1, captured.x, captured.x, 1, captured.other));
      CHECK_CUDA(cudaEventRecord(captured.join, captured.other));
      if (wait_first) CHECK_CUDA(cudaStreamWaitEvent(captured.stream, captured.join));
      CHECK_CUDA(add_within_bounds(captured.x, 1, 1, captured.stream));
      if (!wait_first) CHECK_CUDA(cudaStreamWaitEvent(captured.stream, captured.join));
      const cudaGraphExec_t exec = captured.end();
      CHECK_CUDA(cudaGraphLaunch(exec, nullptr));
      (wait_first ? with_join : without).insert(from_device(captured.x, 1)[0]);
    }
  }
  CHECK(with_join == std::set<float>{3});
  CHECK(without == std::set<float>{3, 4});
}

TEST_CASE("work after a join waits for both branches, in one capture after another") {
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const FreshDevice fresh;
    emulator_set_seed(seed);
    Captured captured;
    for (const float expected : {5.0F, 10.0F}) {
      CHECK_CUDA(cudaEventRecord(captured.fork, captured.stream));
      CHECK_CUDA(cudaStreamWaitEvent(captured.other, captured.fork));
      CHECK_CUDA(add_within_bounds(captured.x + 1, 1, 1, captured.other));
      CHECK_CUDA(cudaEventRecord(captured.join, captured.other));
      CHECK_CUDA(add_within_bounds(captured.x, 2, 1, captured.stream));
      CHECK_CUDA(cudaStreamWaitEvent(captured.stream, captured.join));
      CHECK_CUDA(saxpy(1, captured.x + 1, captured.x, 1, captured.stream));
      CHECK_CUDA(cudaGraphLaunch(captured.end(), nullptr));
      CHECK(from_device(captured.x, 1)[0] == expected);
      CHECK_CUDA(cudaStreamBeginCapture(captured.stream, cudaStreamCaptureModeGlobal));
    }
    captured.end();
    CHECK_CUDA(cudaEventRecord(captured.fork, captured.stream));  // the event serves outside a capture again
    CHECK_CUDA(cudaEventSynchronize(captured.fork));
  }
}

TEST_CASE("a stream that joined and was not joined again") {
  const FreshDevice fresh;
  Captured captured;
  CHECK_CUDA(cudaEventRecord(captured.fork, captured.stream));
  CHECK_CUDA(cudaStreamWaitEvent(captured.other, captured.fork));
  CHECK_CUDA(saxpy(1, captured.x, captured.x, 1, captured.other));
  cudaGraph_t graph = nullptr;
  CHECK_ERROR(cudaStreamEndCapture(captured.stream, &graph), cudaErrorStreamCaptureUnjoined);
  check_report_has("does not wait for it");
}

TEST_CASE("what might wait for the device is refused during a capture, and spoils it") {
  const FreshDevice fresh;
  void* address = nullptr;
  float host = 0;
  {
    Captured captured;
    CHECK_ERROR(cudaMalloc(&address, 4), cudaErrorStreamCaptureUnsupported);
    check_report_has("does not permit");
    CHECK_ERROR(saxpy(1, captured.x, captured.x, 1, captured.stream), cudaErrorStreamCaptureInvalidated);
    captured.check_end_is_invalidated();
  }
  {
    Captured captured(cudaStreamCaptureModeThreadLocal);
    std::thread([&] { CHECK_CUDA(cudaMalloc(&address, 4)); }).join();
    CHECK_ERROR(cudaMemcpy(&host, captured.x, 4, cudaMemcpyDeviceToHost), cudaErrorStreamCaptureUnsupported);
    check_report_has("does not permit");
    captured.check_end_is_invalidated();
  }
  {
    Captured captured(cudaStreamCaptureModeRelaxed);
    CHECK_CUDA(cudaMalloc(&address, 4));
    CHECK_ERROR(saxpy(1, captured.x, captured.x, 1, nullptr), cudaErrorStreamCaptureImplicit);
    check_report_has("the default stream was used");
    captured.check_end_is_invalidated();
  }
  for (const bool whole_device : {true, false}) {
    Captured captured(cudaStreamCaptureModeRelaxed);
    const cudaError_t error = whole_device ? cudaDeviceSynchronize() : cudaStreamSynchronize(captured.stream);
    CHECK_ERROR(error, cudaErrorStreamCaptureUnsupported);
    check_report_has("being captured");
    captured.check_end_is_invalidated();
  }
}

TEST_CASE("captures begun and ended where they may not be") {
  const FreshDevice fresh;
  cudaGraph_t graph = nullptr;
  CHECK_ERROR(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal), cudaErrorStreamCaptureUnsupported);
  check_report_has("the default stream cannot be captured");
  Captured captured;
  CHECK_ERROR(cudaStreamBeginCapture(captured.stream, cudaStreamCaptureModeGlobal), cudaErrorIllegalState);
  check_report_has("captured already");
  CHECK_ERROR(cudaStreamEndCapture(captured.other, &graph), cudaErrorIllegalState);
  check_report_has("not being captured");
  std::thread([&] {
    CHECK_ERROR(cudaStreamEndCapture(captured.stream, &graph), cudaErrorStreamCaptureWrongThread);
  }).join();
  check_report_has("in another thread");
  CHECK_CUDA(cudaEventRecord(captured.fork, captured.stream));
  CHECK_ERROR(cudaEventSynchronize(captured.fork), cudaErrorCapturedEvent);
  check_report_has("last recorded in a capture");
  CHECK_CUDA(cudaEventRecord(captured.join, captured.other));
  CHECK_ERROR(cudaStreamWaitEvent(captured.stream, captured.join), cudaErrorStreamCaptureIsolation);
  check_report_has("from outside");
  captured.check_end_is_invalidated();
}

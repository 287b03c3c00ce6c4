// CUDA's streams, events, capture and graphs.
#include <cuda_runtime_api.h>

#include <utility>

#include "emulator/runtime/context.h"

namespace emulator::runtime {
namespace {

// Numerically lower is more urgent. Priorities change nothing: streams run in a random order anyway.
constexpr int kLeastPriority = 0, kGreatestPriority = -5;

cudaError_t create_stream(const char* name, cudaStream_t* stream, unsigned flags, int priority) {
  return call(name, [&](Context&, Device& device) {
    require(stream != nullptr, cudaErrorInvalidValue, "a null pointer");
    require((flags & ~unsigned{cudaStreamNonBlocking}) == 0, cudaErrorInvalidValue, "unknown flags");
    *stream = device.streams.create((flags & cudaStreamNonBlocking) == 0, priority);
  });
}

cudaError_t create_event(const char* name, cudaEvent_t* event, unsigned flags) {
  return call(name, [&](Context&, Device& device) {
    require(event != nullptr, cudaErrorInvalidValue, "a null pointer");
    require(flags < cudaEventInterprocess, cudaErrorInvalidValue, "unknown flags");
    *event = device.streams.create_event((flags & cudaEventDisableTiming) == 0);
  });
}

const Event& event_outside_capture(Device& device, cudaEvent_t handle) {
  const Event& event = device.streams.event(handle);
  require(event.capture == nullptr, cudaErrorCapturedEvent, "the event was last recorded in a capture");
  return event;
}

/// Done, or on the way there: a host that polls makes progress.
void require_done(Streams& streams, const Marker* marker) {
  if (marker == nullptr || marker->done) return;
  streams.step(*marker->stream);
  require(marker->done, cudaErrorNotReady, "");
}

}  // namespace
}  // namespace emulator::runtime

using namespace emulator::runtime;

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return create_stream("cudaStreamCreate", stream, cudaStreamDefault, kLeastPriority);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return create_stream("cudaStreamCreateWithFlags", stream, flags, kLeastPriority);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  return create_stream("cudaStreamCreateWithPriority", stream, flags, priority);
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return call("cudaDeviceGetStreamPriorityRange", [&](Context&, Device&) {
    if (least != nullptr) *least = kLeastPriority;
    if (greatest != nullptr) *greatest = kGreatestPriority;
  });
}

cudaError_t cudaStreamGetPriority(cudaStream_t stream, int* priority) {
  return call("cudaStreamGetPriority",
              [&](Context&, Device& device) { *priority = device.streams.stream(stream).priority; });
}

cudaError_t cudaStreamGetFlags(cudaStream_t stream, unsigned* flags) {
  return call("cudaStreamGetFlags", [&](Context&, Device& device) {
    *flags = device.streams.stream(stream).blocking ? cudaStreamDefault : cudaStreamNonBlocking;
  });
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return call("cudaStreamDestroy", [&](Context&, Device& device) { device.streams.destroy(stream); });
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  return call("cudaStreamSynchronize", [&](Context&, Device& device) {
    Stream& stream = device.streams.stream(handle);
    device.streams.refuse_while_capturing(&stream);
    device.streams.finish(stream);
  });
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return call("cudaStreamQuery", [&](Context&, Device& device) {
    Stream& stream = device.streams.stream(handle);
    device.streams.refuse_while_capturing(&stream);
    require_done(device.streams, stream.last.get());
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  return call("cudaStreamWaitEvent", [&](Context&, Device& device) {
    device.streams.wait(device.streams.stream(stream), device.streams.event(event));
  });
}

cudaError_t cudaDeviceSynchronize() {
  return call("cudaDeviceSynchronize", [&](Context&, Device& device) {
    device.streams.refuse_while_capturing(nullptr);
    device.streams.finish_all();
  });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return create_event("cudaEventCreate", event, cudaEventDefault); }

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return create_event("cudaEventCreateWithFlags", event, flags);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call("cudaEventDestroy", [&](Context&, Device& device) { device.streams.destroy_event(event); });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return call("cudaEventRecord", [&](Context&, Device& device) {
    device.streams.record(device.streams.event(event), device.streams.stream(stream));
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  return call("cudaEventSynchronize", [&](Context&, Device& device) {
    const Event& event = event_outside_capture(device, handle);
    if (event.marker != nullptr) device.streams.finish(*event.marker);
  });
}

cudaError_t cudaEventQuery(cudaEvent_t handle) {
  return call("cudaEventQuery", [&](Context&, Device& device) {
    require_done(device.streams, event_outside_capture(device, handle).marker.get());
  });
}

// The time is that of the emulation, which says nothing about a device.
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start_handle, cudaEvent_t end_handle) {
  return call("cudaEventElapsedTime", [&](Context&, Device& device) {
    const Event& start = event_outside_capture(device, start_handle);
    const Event& end = event_outside_capture(device, end_handle);
    require(milliseconds != nullptr, cudaErrorInvalidValue, "a null pointer");
    require(start.timed && end.timed, cudaErrorInvalidResourceHandle, "an event without timing");
    require(start.marker != nullptr && end.marker != nullptr, cudaErrorInvalidResourceHandle,
            "an event that was never recorded");
    require(start.marker->done && end.marker->done, cudaErrorNotReady, "");
    *milliseconds = static_cast<float>(end.marker->milliseconds - start.marker->milliseconds);
  });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return call("cudaStreamBeginCapture",
              [&](Context&, Device& device) { device.streams.begin_capture(device.streams.stream(stream), mode); });
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  return call("cudaStreamEndCapture", [&](Context&, Device& device) {
    require(graph != nullptr, cudaErrorInvalidValue, "a null pointer");
    *graph = nullptr;
    *graph = device.graphs.add<cudaGraph_t>(device.streams.end_capture(device.streams.stream(stream)));
  });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  return call("cudaStreamIsCapturing", [&](Context&, Device& device) {
    require(status != nullptr, cudaErrorInvalidValue, "a null pointer");
    const Stream& stream = device.streams.stream(handle);
    *status = stream.capture == nullptr ? cudaStreamCaptureStatusNone
              : stream.capture->spoilt  ? cudaStreamCaptureStatusInvalidated
                                        : cudaStreamCaptureStatusActive;
  });
}

/// Only the number of nodes: asking for the nodes themselves is an error.
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  return call("cudaGraphGetNodes", [&](Context&, Device& device) {
    require(count != nullptr, cudaErrorInvalidValue, "a null pointer");
    require(nodes == nullptr, cudaErrorNotSupported, "handles of graph nodes are not emulated");
    *count = device.graphs.get(graph, "the graph")->nodes.size();
  });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  return call("cudaGraphInstantiate", [&](Context&, Device& device) {
    require(exec != nullptr, cudaErrorInvalidValue, "a null pointer");
    *exec = device.graph_execs.add<cudaGraphExec_t>(device.graphs.get(graph, "the graph"));
  });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return call("cudaGraphLaunch", [&](Context&, Device& device) {
    const auto graph = device.graph_execs.get(exec, "the executable graph");
    device.streams.enqueue(device.streams.stream(stream), [graph, &device] { graph->run(device.streams.random()); });
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return call("cudaGraphDestroy", [&](Context&, Device& device) {
    device.graphs.get(graph, "the graph");
    device.graphs.erase(graph);
  });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  return call("cudaGraphExecDestroy", [&](Context&, Device& device) {
    device.graph_execs.get(exec, "the executable graph");
    device.graph_execs.erase(exec);
  });
}

#include "emulator/runtime/streams.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace emulator::runtime {
namespace {

double now_milliseconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double, std::milli>(now).count();
}

[[noreturn]] void spoil(Capture& capture, cudaError_t code, const char* text) {
  capture.spoilt = true;
  throw Failure{code, text};
}

}  // namespace

cudaStream_t Streams::create(bool blocking, int priority) {
  streams_.erase_if([](const Stream& stream) { return stream.destroyed && stream.items.empty(); });
  auto stream = std::make_shared<Stream>();
  stream->blocking = blocking;
  stream->priority = priority;
  return streams_.add<cudaStream_t>(std::move(stream));
}

void Streams::destroy(cudaStream_t handle) {
  Stream& destroyed = stream(handle);
  require(&destroyed != &default_, cudaErrorInvalidResourceHandle, "the default stream cannot be destroyed");
  if (destroyed.capture != nullptr) destroyed.capture->spoilt = true;
  destroyed.capture = nullptr;
  destroyed.destroyed = true;  // what it holds still runs; its handle is good for nothing more
}

Stream& Streams::stream(cudaStream_t handle) {
  if (handle == nullptr || handle == cudaStreamLegacy) return default_;
  require(handle != cudaStreamPerThread, cudaErrorNotSupported, "cudaStreamPerThread is not emulated");
  const auto found = streams_.get(handle, "the stream");
  require(!found->destroyed, cudaErrorInvalidResourceHandle, "the stream was destroyed");
  return *found;
}

cudaEvent_t Streams::create_event(bool timed) {
  auto event = std::make_shared<Event>();
  event->timed = timed;
  return events_.add<cudaEvent_t>(std::move(event));
}

void Streams::destroy_event(cudaEvent_t handle) {
  events_.get(handle, "the event");
  events_.erase(handle);
}

Event& Streams::event(cudaEvent_t handle) { return *events_.get(handle, "the event"); }

std::vector<Stream*> Streams::all() {
  std::vector<Stream*> streams{&default_};
  for (const auto& [handle, stream] : streams_) streams.push_back(stream.get());
  return streams;
}

std::vector<std::shared_ptr<Marker>> Streams::default_stream_order(const Stream& stream) {
  std::vector<std::shared_ptr<Marker>> after;
  for (const Stream* other : all()) {
    const bool one_is_default = other == &default_ || &stream == &default_;
    const bool ordered = other != &stream && one_is_default && other->blocking && stream.blocking;
    if (ordered && other->last != nullptr && !other->last->done) after.push_back(other->last);
  }
  return after;
}

void Streams::enqueue(Stream& stream, Work work) {
  if (stream.capture != nullptr) {
    require(!stream.capture->spoilt, cudaErrorStreamCaptureInvalidated, "an earlier call spoilt the capture");
    std::vector<Node>& nodes = stream.capture->graph.nodes;
    nodes.push_back({std::move(work), stream.capture_last});
    stream.capture_last = {nodes.size() - 1};
    return;
  }
  if (&stream == &default_) {
    for (const Stream* other : all()) {
      if (other->blocking && other->capture != nullptr) {
        spoil(*other->capture, cudaErrorStreamCaptureImplicit, "the default stream was used during a capture");
      }
    }
  }
  Item item{std::move(work), default_stream_order(stream), std::make_shared<Marker>(Marker{&stream})};
  item.after.insert(item.after.end(), stream.waits.begin(), stream.waits.end());
  stream.waits.clear();
  stream.last = item.marker;
  stream.items.push_back(std::move(item));
}

void Streams::record(Event& event, Stream& stream) {
  if (stream.capture != nullptr) {
    event.capture = stream.capture;
    event.capture_last = stream.capture_last;
    return;
  }
  enqueue(stream, [] {});
  event.capture = nullptr;
  event.marker = stream.last;
}

void Streams::wait(Stream& stream, const Event& event) {
  if (event.capture != nullptr) {
    require(!event.capture->ended, cudaErrorCapturedEvent, "the event was last recorded in a capture that has ended");
    if (stream.capture != nullptr && stream.capture != event.capture) {
      event.capture->spoilt = true;
      spoil(*stream.capture, cudaErrorStreamCaptureMerge, "a wait would merge two captures");
    }
    if (stream.capture == nullptr) stream.capture_last.clear();
    stream.capture = event.capture;
    stream.capture_last.insert(stream.capture_last.end(), event.capture_last.begin(), event.capture_last.end());
  } else if (stream.capture != nullptr && event.marker != nullptr) {
    spoil(*stream.capture, cudaErrorStreamCaptureIsolation, "a capturing stream waits for an event from outside");
  } else if (event.marker != nullptr && !event.marker->done) {
    stream.waits.push_back(event.marker);
  }
}

void Streams::run_front(Stream& stream) {
  // What the item waits for was queued before it, and so was everything that waits for in turn: this comes to an end.
  for (const auto& before : std::exchange(stream.items.front().after, {})) finish(*before);
  const Item item = std::move(stream.items.front());
  stream.items.pop_front();
  item.marker->done = true;  // even if the work throws: nothing may wait for it for ever
  item.work();
  item.marker->milliseconds = now_milliseconds();
}

void Streams::finish(const Marker& marker) {
  while (!marker.done) run_front(*marker.stream);
}

void Streams::finish(Stream& stream) {
  while (!stream.items.empty()) run_front(stream);
}

void Streams::finish_all() {
  while (true) {
    std::vector<Stream*> busy = all();
    std::erase_if(busy, [](const Stream* stream) { return stream->items.empty(); });
    if (busy.empty()) return;
    run_front(*busy[random_() % busy.size()]);
  }
}

void Streams::step(Stream& stream) {
  if (!stream.items.empty()) run_front(stream);
}

std::vector<std::shared_ptr<Capture>> Streams::active_captures() {
  std::vector<std::shared_ptr<Capture>> active;
  for (const auto& weak : captures_) {
    auto capture = weak.lock();
    if (capture != nullptr && !capture->ended) active.push_back(std::move(capture));
  }
  captures_.assign(active.begin(), active.end());
  return active;
}

void Streams::begin_capture(Stream& stream, cudaStreamCaptureMode mode) {
  require(&stream != &default_, cudaErrorStreamCaptureUnsupported, "the default stream cannot be captured");
  require(stream.capture == nullptr, cudaErrorIllegalState, "the stream is being captured already");
  stream.capture = std::make_shared<Capture>(Capture{&stream, mode, std::this_thread::get_id()});
  stream.capture_last.clear();
  captures_.push_back(stream.capture);
}

std::shared_ptr<Graph> Streams::end_capture(Stream& stream) {
  const std::shared_ptr<Capture> capture = stream.capture;
  require(capture != nullptr, cudaErrorIllegalState, "the stream is not being captured");
  if (capture->origin != &stream)
    spoil(*capture, cudaErrorStreamCaptureUnmatched, "the capture began in another stream");
  const bool right_thread = capture->thread == std::this_thread::get_id();
  require(right_thread || capture->mode == cudaStreamCaptureModeRelaxed, cudaErrorStreamCaptureWrongThread,
          "the capture began in another thread");
  capture->ended = true;
  for (Stream* other : all()) {
    if (other->capture == capture) other->capture = nullptr;
  }
  require(!capture->spoilt, cudaErrorStreamCaptureInvalidated, "an earlier call spoilt the capture");
  require(capture->graph.all_lead_to(stream.capture_last), cudaErrorStreamCaptureUnjoined,
          "a stream joined the capture, and the capture's own stream does not wait for it");
  return std::make_shared<Graph>(std::move(capture->graph));
}

void Streams::refuse_while_capturing() {
  for (const auto& capture : active_captures()) {
    const bool own = capture->thread == std::this_thread::get_id();
    const bool forbidden =
        capture->mode == cudaStreamCaptureModeGlobal || (capture->mode == cudaStreamCaptureModeThreadLocal && own);
    if (forbidden) spoil(*capture, cudaErrorStreamCaptureUnsupported, "a call that a stream capture does not permit");
  }
}

void Streams::refuse_while_capturing(const Stream* stream) {
  for (const auto& capture : active_captures()) {
    if (stream == nullptr || stream->capture == capture) {
      spoil(*capture, cudaErrorStreamCaptureUnsupported, "waiting for a stream that is being captured");
    }
  }
}

}  // namespace emulator::runtime

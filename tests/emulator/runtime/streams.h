// Streams, events and stream capture.
//
// Work is queued and runs as late as CUDA allows: when the host waits for it, or asks whether it is done. Between
// streams the order is random, fixed by the seed, and limited only by events and by the default stream. So a host that
// reads results too early, or forgets an event, sees it.
#pragma once

#include <deque>
#include <memory>
#include <random>
#include <vector>

#include "emulator/runtime/failure.h"
#include "emulator/runtime/graph.h"
#include "emulator/runtime/handles.h"

namespace emulator::runtime {

struct Stream;

/// A point in a stream: the end of one piece of work.
struct Marker {
  Stream* stream;
  bool done = false;
  double milliseconds = 0;  // when it was done
};

struct Item {
  Work work;
  std::vector<std::shared_ptr<Marker>> after;  // of other streams
  std::shared_ptr<Marker> marker;
};

struct Stream {
  bool blocking = true;  // ordered with the default stream
  bool destroyed = false;
  int priority = 0;
  std::deque<Item> items;
  std::shared_ptr<Marker> last;                // of the newest item; null before the first
  std::vector<std::shared_ptr<Marker>> waits;  // what the next item has to wait for
  std::shared_ptr<Capture> capture;
  std::vector<size_t> capture_last;  // nodes that the next captured node follows
};

struct Event {
  bool timed = true;
  std::shared_ptr<Marker> marker;    // null until recorded
  std::shared_ptr<Capture> capture;  // recorded while capturing: where, after which nodes
  std::vector<size_t> capture_last;
};

class Streams {
 public:
  explicit Streams(uint64_t seed) : random_(seed) {}

  cudaStream_t create(bool blocking, int priority);
  void destroy(cudaStream_t);
  /// Throws Failure with cudaErrorInvalidResourceHandle for a handle that was never given out or is destroyed.
  Stream& stream(cudaStream_t);

  cudaEvent_t create_event(bool timed);
  void destroy_event(cudaEvent_t);
  Event& event(cudaEvent_t);

  /// Queues work, or records it if the stream is capturing.
  void enqueue(Stream&, Work);
  void record(Event&, Stream&);
  void wait(Stream&, const Event&);

  void finish(Stream&);
  void finish(const Marker&);
  void finish_all();
  /// One piece of work of the stream, so that a host that polls makes progress.
  void step(Stream&);

  void begin_capture(Stream&, cudaStreamCaptureMode);
  /// Throws Failure if the capture was spoilt; the stream is usable again in any case.
  std::shared_ptr<Graph> end_capture(Stream&);
  /// For calls that might wait for the device, such as cudaMalloc: throws, and spoils a capture of a mode that forbids
  /// them.
  void refuse_while_capturing();
  /// For calls that wait for this stream, or, with null, for all of them.
  void refuse_while_capturing(const Stream*);

  std::mt19937_64& random() { return random_; }

 private:
  void run_front(Stream&);
  std::vector<std::shared_ptr<Marker>> default_stream_order(const Stream&);
  std::vector<Stream*> all();
  std::vector<std::shared_ptr<Capture>> active_captures();

  std::mt19937_64 random_;
  Stream default_;
  Handles<Stream> streams_;
  Handles<Event> events_;
  std::vector<std::weak_ptr<Capture>> captures_;
};

}  // namespace emulator::runtime

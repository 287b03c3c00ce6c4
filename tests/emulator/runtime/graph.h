// What a stream capture records, and how it is replayed.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace emulator::runtime {

using Work = std::function<void()>;

struct Node {
  Work work;
  std::vector<size_t> after;  // indices of nodes before this one
};

struct Graph {
  std::vector<Node> nodes;

  /// Runs the nodes in a random order that respects their edges.
  void run(std::mt19937_64& random) const;
  /// Whether each node is one of `last` or leads to one.
  bool all_lead_to(const std::vector<size_t>& last) const;
};

struct Stream;

/// A capture under way; streams that wait for its events join it.
struct Capture {
  Stream* origin;
  cudaStreamCaptureMode mode;
  std::thread::id thread;
  bool spoilt = false, ended = false;
  Graph graph = {};
};

}  // namespace emulator::runtime

#include "emulator/runtime/graph.h"

#include <algorithm>

namespace emulator::runtime {

void Graph::run(std::mt19937_64& random) const {
  std::vector<size_t> missing(nodes.size());  // edges into each node that are not yet run
  std::vector<std::vector<size_t>> followers(nodes.size());
  std::vector<size_t> ready;
  for (size_t i = 0; i < nodes.size(); ++i) {
    missing[i] = nodes[i].after.size();
    for (const size_t before : nodes[i].after) followers[before].push_back(i);
    if (missing[i] == 0) ready.push_back(i);
  }
  while (!ready.empty()) {
    std::swap(ready[random() % ready.size()], ready.back());
    const size_t node = ready.back();
    ready.pop_back();
    nodes[node].work();
    for (const size_t follower : followers[node]) {
      if (--missing[follower] == 0) ready.push_back(follower);
    }
  }
}

bool Graph::all_lead_to(const std::vector<size_t>& last) const {
  std::vector<bool> leads(nodes.size());
  for (const size_t i : last) leads[i] = true;
  for (size_t i = nodes.size(); i-- > 0;) {  // edges point backwards, so one sweep is enough
    if (!leads[i]) return false;
    for (const size_t before : nodes[i].after) leads[before] = true;
  }
  return true;
}

}  // namespace emulator::runtime

// Runs a loop of independent tasks on up to num_threads threads of the one pool this process has.
//
// - Which thread runs which task is never the same twice; ops stay deterministic because a task's result does not
//   depend on it.
// - Two callers at once: the first has the pool, the second runs its tasks on its own thread. Results are the same.
// - After fork the child has no worker threads; it starts its own when it first needs them.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <type_traits>

namespace albert_fast::cpu {

/// A borrowed callable (no allocation, no std::function in code that is compiled per instruction set).
class TaskRef {
 public:
  template <typename F>
  explicit TaskRef(const F& f)
      : object_(&f),
        call_([](const void* object, int64_t task, int worker) { (*static_cast<const F*>(object))(task, worker); }) {}
  void operator()(int64_t task, int worker) const { call_(object_, task, worker); }

 private:
  const void* object_;
  void (*call_)(const void*, int64_t, int);
};

/// How many threads a caller gets who does not say: the CPUs this process may run on (its affinity mask), but no more
/// than its control groups grant and OMP_NUM_THREADS says, both as they are at the first call.
int default_num_threads();

class Executor {
 public:
  /// `interrupted` is asked now and then, on the calling thread alone, whether to stop; it may be empty.
  Executor(int num_threads, std::function<bool()> interrupted);

  int num_threads() const { return num_threads_; }

  /// body(task, worker) for every task in [0, num_tasks), worker in [0, num_threads). Returns when all are done.
  /// Throws Interrupted once `interrupted` says so; tasks not begun by then are left out.
  template <typename F>
  void parallel_for(int64_t num_tasks, const F& body) {
    run(num_tasks, TaskRef(body));
  }

 private:
  void run(int64_t num_tasks, TaskRef body);
  bool poll();

  int num_threads_;
  std::function<bool()> interrupted_;
  std::chrono::steady_clock::time_point last_poll_;
};

}  // namespace albert_fast::cpu

#include "cpu/runtime/executor.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "cpu/runtime/cpu_limits.h"
#include "kernels/errors.h"

namespace albert_fast::cpu {
namespace {

// Long enough to bridge the gap between two ops of one layer, short enough that an idle pool costs nothing.
constexpr auto kSpin = std::chrono::microseconds(50);
// A task takes about a millisecond; asking costs a GIL round trip, so ask twenty times a second.
constexpr auto kPollInterval = std::chrono::milliseconds(50);

/// One parallel_for: threads take task numbers from `next` until there are none.
struct Job {
  TaskRef body;
  int64_t num_tasks;
  int max_workers;                // threads that may take part, the caller included
  std::atomic<int64_t> next{0};   // first task nobody took
  std::atomic<bool> stop{false};  // set by the caller: take no more

  void work(int worker) {
    while (!stop.load(std::memory_order_relaxed)) {
      const int64_t task = next.fetch_add(1, std::memory_order_relaxed);
      if (task >= num_tasks) return;
      body(task, worker);
    }
  }
};

class ThreadPool {
 public:
  /// The process's pool. It is never destroyed: its threads end with the process.
  static ThreadPool& instance() {
    static std::once_flag once;
    std::call_once(once, [] { pthread_atfork(nullptr, nullptr, [] { current_.store(nullptr); }); });
    ThreadPool* pool = current_.load();
    if (pool == nullptr) {
      auto* fresh = new ThreadPool;
      if (current_.compare_exchange_strong(pool, fresh)) return *fresh;
      delete fresh;  // another thread was first
    }
    return *pool;
  }

  /// False if another caller has the pool.
  bool try_acquire() { return !taken_.test_and_set(std::memory_order_acquire); }
  void release() { taken_.clear(std::memory_order_release); }

  /// Workers 1 .. job.max_workers - 1 may join until `close`; fewer if the system gives no more threads.
  void open(Job& job) {
    try {
      for (; num_workers_ < job.max_workers - 1; ++num_workers_) {
        std::thread([this, worker = num_workers_ + 1] { loop(worker); }).detach();
      }
    } catch (const std::system_error&) {  // a limit of the machine, not of the work: those there are do it all
    }
    {
      std::lock_guard lock(mutex_);
      job_ = &job;
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
  }

  /// No more workers join; returns when those that did have left.
  void close() {
    std::unique_lock lock(mutex_);
    job_ = nullptr;
    idle_.wait(lock, [this] { return active_ == 0; });
  }

 private:
  void loop(int worker) {
    uint64_t seen = 0;
    for (;;) {
      const auto deadline = std::chrono::steady_clock::now() + kSpin;
      while (generation_.load(std::memory_order_acquire) == seen && std::chrono::steady_clock::now() < deadline) {
      }
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return generation_.load(std::memory_order_relaxed) != seen; });
      seen = generation_.load(std::memory_order_relaxed);
      Job* job = job_;
      if (job == nullptr || worker >= job->max_workers) continue;
      ++active_;
      lock.unlock();
      job->work(worker);
      lock.lock();
      if (--active_ == 0) idle_.notify_one();
    }
  }

  static std::atomic<ThreadPool*> current_;

  std::atomic_flag taken_ = ATOMIC_FLAG_INIT;
  int num_workers_ = 0;  // touched only by whoever has the pool
  std::mutex mutex_;     // guards job_ and active_
  std::condition_variable wake_;
  std::condition_variable idle_;
  std::atomic<uint64_t> generation_{0};
  Job* job_ = nullptr;
  int active_ = 0;
};

std::atomic<ThreadPool*> ThreadPool::current_{nullptr};

/// What stays as it is while the process runs. Reading it takes longer than a small op, so it is read once; two threads
/// may both do so, and a child of a fork that came between waits for nobody.
int thread_limit() {
  static std::atomic<int> limit{0};
  int known = limit.load(std::memory_order_relaxed);
  if (known == 0) {
    known = std::min(cgroup_cpus("/proc/self/cgroup", "/sys/fs/cgroup").value_or(INT_MAX),
                     omp_num_threads(std::getenv("OMP_NUM_THREADS")).value_or(INT_MAX));
    limit.store(known, std::memory_order_relaxed);
  }
  return known;
}

}  // namespace

int default_num_threads() {
  const int limit = thread_limit();
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::clamp(CPU_COUNT(&set), 1, limit);
  return static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, static_cast<unsigned>(limit)));
}

Executor::Executor(int num_threads, std::function<bool()> interrupted)
    : num_threads_(std::max(1, num_threads)),
      interrupted_(std::move(interrupted)),
      last_poll_(std::chrono::steady_clock::now()) {}

bool Executor::poll() {
  if (!interrupted_) return false;
  const auto now = std::chrono::steady_clock::now();
  if (now - last_poll_ < kPollInterval) return false;
  last_poll_ = now;
  return interrupted_();
}

void Executor::run(int64_t num_tasks, TaskRef body) {
  bool stopped = false;
  Job* running = nullptr;
  auto polled = [&](int64_t task, int worker) {
    body(task, worker);
    if (worker == 0 && poll()) {  // worker 0 is the calling thread
      stopped = true;
      running->stop.store(true, std::memory_order_relaxed);
    }
  };
  Job job{TaskRef(polled), num_tasks, static_cast<int>(std::min<int64_t>(num_threads_, num_tasks))};
  running = &job;

  ThreadPool& pool = ThreadPool::instance();
  const bool shared = job.max_workers > 1 && pool.try_acquire();
  if (shared) pool.open(job);
  job.work(0);
  if (shared) {
    pool.close();
    pool.release();
  }
  if (stopped) throw Interrupted();
}

}  // namespace albert_fast::cpu

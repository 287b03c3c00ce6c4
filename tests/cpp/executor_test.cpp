// parallel_for: every task once, callers side by side, Ctrl-C, fork.
#include "cpu/runtime/executor.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>
#include <vector>

#include "kernels/errors.h"

namespace albert_fast::testing {
namespace {

/// Whether each of `tasks` tasks ran once, on workers below `threads`.
bool runs_all(cpu::Executor& executor, int64_t tasks) {
  const std::unique_ptr<std::atomic<int>[]> count(new std::atomic<int>[tasks + 1]());
  std::atomic<bool> workers_in_range{true};
  executor.parallel_for(tasks, [&](int64_t task, int worker) {
    count[task].fetch_add(1);
    if (worker < 0 || worker >= executor.num_threads()) workers_in_range = false;
  });
  return workers_in_range && count[tasks] == 0 &&
         std::all_of(count.get(), count.get() + tasks, [](const std::atomic<int>& n) { return n == 1; });
}

bool runs_all(int threads, int64_t tasks) {
  cpu::Executor executor(threads, {});
  return runs_all(executor, tasks);
}

/// Runs `body` in a forked child; true if it returned true there.
template <typename Body>
bool in_child(const Body& body) {
  std::fflush(nullptr);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(30);  // a child that hangs must not hang the test
    try {
      _exit(body() ? 0 : 1);
    } catch (...) {
      _exit(2);
    }
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

TEST_CASE("every task runs exactly once") {
  for (const int threads : {1, 2, 3, 4, 17}) {
    CAPTURE(threads);
    cpu::Executor executor(threads, {});
    for (const int64_t tasks : {0, 1, 2, 3, 5, 16, 17, 100, 1000, 20000}) {
      CAPTURE(tasks);
      CHECK(runs_all(executor, tasks));
    }
  }
}

TEST_CASE("what the workers wrote is there when parallel_for returns, time after time") {
  cpu::Executor executor(3, {});
  std::vector<int64_t> squares(37);
  for (int64_t round = 0; round < 2000; ++round) {
    executor.parallel_for(37, [&](int64_t task, int) { squares[task] = task * round; });
    int64_t sum = 0;
    for (const int64_t square : squares) sum += square;
    REQUIRE(sum == round * 37 * 36 / 2);
  }
}

TEST_CASE("tasks run side by side, call after call") {
  cpu::Executor executor(3, {});
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> arrived{0};
    std::atomic<bool> met{true};
    executor.parallel_for(3, [&](int64_t, int) {
      ++arrived;
      const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
      while (arrived < 3 && met) {
        if (std::chrono::steady_clock::now() > deadline) met = false;
        std::this_thread::yield();
      }
    });
    REQUIRE(met);
  }
}

TEST_CASE("a number of threads below one is one") {
  CHECK(cpu::Executor(0, {}).num_threads() == 1);
  CHECK(cpu::Executor(-3, {}).num_threads() == 1);
  CHECK(cpu::default_num_threads() >= 1);
}

TEST_CASE("several threads call at once, and a task may call again") {
  std::atomic<bool> right{true};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&right, caller] {
      for (int round = 0; round < 100; ++round) {
        if (!runs_all(1 + caller, 50 + round)) right = false;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(right);

  cpu::Executor outer(3, {});
  outer.parallel_for(9, [&](int64_t, int) {
    if (!runs_all(3, 20)) right = false;
  });
  CHECK(right);
}

TEST_CASE("an interruption stops within a few tasks, and the pool works afterwards") {
  using namespace std::chrono_literals;
  for (const int threads : {1, 3}) {
    CAPTURE(threads);
    const std::thread::id caller = std::this_thread::get_id();
    bool asked_elsewhere = false;
    cpu::Executor executor(threads, [&] {
      if (std::this_thread::get_id() != caller) asked_elsewhere = true;
      return true;
    });
    std::atomic<int> begun{0};
    // The caller is the slow one, so that a worker would be the first to ask, if workers asked.
    const auto body = [&](int64_t, int worker) {
      ++begun;
      std::this_thread::sleep_for(worker == 0 ? 100ms : 5ms);
    };
    CHECK_THROWS_AS(executor.parallel_for(10000, body), Interrupted);
    CHECK(begun >= 1);
    CHECK(begun < 1000);
    CHECK_FALSE(asked_elsewhere);
    CHECK(runs_all(threads, 1000));
  }
}

TEST_CASE("nobody is interrupted who does not ask for it") {
  int asked = 0;
  cpu::Executor executor(2, [&] { return ++asked < 0; });
  for (int round = 0; round < 3; ++round) {
    executor.parallel_for(20, [](int64_t, int) { std::this_thread::sleep_for(std::chrono::milliseconds(5)); });
  }
  CHECK(asked >= 1);  // twenty times a second, not once a task
  CHECK(asked <= 10);
}

TEST_CASE("after fork, child and parent have a pool each" * doctest::test_suite("fork")) {
  REQUIRE(runs_all(4, 1000));
  for (int round = 0; round < 5; ++round) {
    CHECK(in_child([] { return runs_all(4, 1000) && runs_all(2, 3); }));
    CHECK(runs_all(4, 1000));
  }
}

TEST_CASE("fork while another thread has the pool" * doctest::test_suite("fork")) {
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    while (!stop) runs_all(3, 200);
  });
  for (int round = 0; round < 10; ++round) CHECK(in_child([] { return runs_all(3, 500); }));
  stop = true;
  busy.join();
}

#if !defined(__SANITIZE_ADDRESS__)  // its own memory does not fit under the limit
TEST_CASE("where the system gives no more threads, those there are do the work" * doctest::test_suite("fork")) {
  CHECK(in_child([] {
    long pages = 0;
    std::FILE* statm = std::fopen("/proc/self/statm", "r");
    if (statm == nullptr || std::fscanf(statm, "%ld", &pages) != 1) return false;
    const rlim_t bytes = pages * sysconf(_SC_PAGESIZE) + (rlim_t{20} << 20);  // for the stacks of two threads of 8 MB
    const rlimit limit{bytes, bytes};
    if (setrlimit(RLIMIT_AS, &limit) != 0) return false;
    return runs_all(64, 1000) && runs_all(64, 1000);
  }));
}
#endif

}  // namespace albert_fast::testing

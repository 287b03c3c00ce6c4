// Runs a piece of work on a backend for Python, without the GIL: on the CPU on so many threads, stopping on Ctrl-C; on
// CUDA by queueing it on a stream.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <optional>
#include <string>

#include "cpu/runtime/executor.h"
#include "kernels/errors.h"
#include "kernels/ops.h"

namespace albert_fast::bindings {

namespace py = pybind11;

/// How a caller wants a call to be run.
struct How {
  std::optional<int64_t> num_threads;  // CPU; by default those this process may run on
  uintptr_t stream = 0;                // CUDA: a cudaStream_t; 0 is the default stream

  Stream cuda_stream() const { return {reinterpret_cast<void*>(stream)}; }
};

inline int checked_threads(std::optional<int64_t> num_threads) {
  if (!num_threads) return cpu::default_num_threads();
  if (*num_threads < 1 || *num_threads > 1024) {
    throw InvalidInputError("num_threads: got " + std::to_string(*num_threads) + ", expected an integer in 1..1024");
  }
  return static_cast<int>(*num_threads);
}

/// work(Stream). A pending signal whose handler raises (KeyboardInterrupt) ends it with that exception.
template <typename Work>
void run_on_cpu(std::optional<int64_t> num_threads, const Work& work) {
  const auto signalled = [] {
    py::gil_scoped_acquire gil;
    return PyErr_CheckSignals() != 0;
  };
  cpu::Executor executor(checked_threads(num_threads), signalled);
  bool interrupted = false;
  {
    py::gil_scoped_release unlocked;
    try {
      work(Stream{&executor});
    } catch (const Interrupted&) {
      interrupted = true;
    }
  }
  if (interrupted) throw py::error_already_set();
}

template <typename Work>
void run(const Ops& ops, const How& how, const Work& work) {
  if (ops.device == Device::kCpu) return run_on_cpu(how.num_threads, work);
  checked_threads(how.num_threads);
  py::gil_scoped_release unlocked;
  work(how.cuda_stream());
}

}  // namespace albert_fast::bindings

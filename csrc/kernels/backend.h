// What a backend that lives in a library of its own hands over: the CUDA backend does, so that the core loads, and runs
// on the CPU, where there is no CUDA, and so that the same backend built against another CUDA runtime can take its
// place.
#pragma once

#include <cstddef>
#include <string>

#include "kernels/ops.h"

namespace albert_fast {

struct Backend {
  size_t ops_size = sizeof(Ops);  // a library built from another contract is refused

  /// Empty if a device can be used, else why not, in the runtime's own words.
  std::string (*unavailable_reason)();

  /// The table of a storage type, or null if there is none.
  const Ops* (*find_ops)(DType dtype);

  /// The ordinal of the device that calls of this thread use.
  int (*current_device)();

  /// The ordinal of the device whose memory `data` is; throws InvalidInputError, naming `argument`, if it is of none.
  int (*device_of)(const char* argument, const void* data);

  /// What is queued on `then` from now on waits for what is queued on `first`.
  void (*order)(Stream first, Stream then);

  /// Returns once everything queued on the stream is done; throws DeviceError if it failed.
  void (*synchronize)(Stream stream);

  /// How a `linear` of these sizes would be cut up on this device, in words; for people and tests.
  std::string (*describe_linear)(DType dtype, int64_t num_tokens, int64_t rows, int64_t cols);
};

/// The one symbol such a library exports.
inline constexpr const char* kBackendSymbol = "albert_fast_backend";
using BackendFunction = const Backend* (*)();

}  // namespace albert_fast

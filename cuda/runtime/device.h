// What the CUDA runtime says about this machine. The driver is looked for at run time: no GPU is no error here.
#pragma once

#include <string>

#include "kernels/types.h"

namespace albert_fast::cuda {

/// Empty if a GPU can be used, else why not, in the runtime's own words.
std::string unavailable_reason();

int current_device();

/// The device whose memory this is; throws InvalidInputError, naming `argument`, for host memory and stray pointers.
int device_of(const char* argument, const void* data);

/// What a choice of tiles depends on, of the current device; asked once per device.
struct DeviceLimits {
  int multiprocessors;
  int shared_per_block;           // bytes, after opting in
  int shared_per_multiprocessor;  // bytes
};
const DeviceLimits& device_limits();

/// What is queued on `then` from now on waits for what is queued on `first`.
void order(Stream first, Stream then);

void synchronize(Stream stream);

}  // namespace albert_fast::cuda

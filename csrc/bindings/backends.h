// The backends there are: the CPU's, linked in, and CUDA's, a library loaded when it is first asked for.
#pragma once

#include <string>

#include "kernels/backend.h"
#include "kernels/ops.h"

namespace albert_fast::bindings {

/// Device and table by name: "cpu" or "cuda"; `isa` is the CPU's ("" for the best). Throws InvalidInputError for names
/// there are none of, DeviceError if the device is not there.
const Ops& find_ops(const std::string& device, const std::string& isa, DType dtype);

/// Throws DeviceError if this installation has none.
const Backend& cuda_backend();

/// Empty if a GPU can be used, else why not.
std::string cuda_unavailable_reason();

/// The library that load_cuda_backend was last given; empty if the installed one is in use.
std::string cuda_backend_path();

/// Takes the CUDA backend from the library at `path`, or if that is empty from the installed one. What was made before
/// keeps the backend that it has. Throws DeviceError if it is not one of this version.
void load_cuda_backend(const std::string& path);

}  // namespace albert_fast::bindings

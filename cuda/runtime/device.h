// What the CUDA runtime says about this machine. The driver is looked for at run time: no GPU is no error here.
#pragma once

#include <string>

namespace albert_fast::cuda {

/// Empty if a GPU can be used, else why not, in the runtime's own words.
std::string unavailable_reason();

}  // namespace albert_fast::cuda

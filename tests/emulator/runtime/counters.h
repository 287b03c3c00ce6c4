// The counters of a launch as a JSON object.
#pragma once

#include <string>

#include "emulator/machine/machine.h"

namespace emulator::runtime {

std::string counters_json(const std::string& kernel, const LaunchConfig&, const Counters&);

}  // namespace emulator::runtime

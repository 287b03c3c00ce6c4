// The exceptions C++ throws; the bindings translate each into the class of the same name in albert_fast/errors.py.
#pragma once

#include <stdexcept>

namespace albert_fast {

/// An argument whose value cannot be used. The message names it, what came and what was expected.
struct InvalidInputError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

/// A model configuration that is malformed or asks for something unsupported.
struct ConfigError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

/// Weights that do not fit the configuration or are not finite.
struct CheckpointError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A device or instruction set that this build or this machine does not have.
struct DeviceError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The caller asked for the running computation to stop (Ctrl-C).
struct Interrupted : std::runtime_error {
  Interrupted() : std::runtime_error("interrupted") {}
};

}  // namespace albert_fast

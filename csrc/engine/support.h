// What a backend's kernels can take.
#pragma once

#include <string>

#include "engine/config.h"
#include "engine/layer_training.h"
#include "kernels/ops.h"

namespace albert_fast {

/// Why a backend cannot run a model of these sizes, naming the field; empty if it can.
std::string unsupported_by(const Ops& ops, const ModelConfig& config);

/// Why a backend cannot train layers of this shape; empty if it can.
std::string unsupported_by(const Ops& ops, const LayerShape& shape);

}  // namespace albert_fast

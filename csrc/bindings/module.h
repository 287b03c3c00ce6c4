// The parts of the module albert_fast._core.
#pragma once

#include <pybind11/pybind11.h>

namespace albert_fast::bindings {

void register_weights(pybind11::module_& m);
void register_encoder(pybind11::module_& m);
void register_ops(pybind11::module_& m);
void register_training(pybind11::module_& m);
void register_device_array(pybind11::module_& m);

}  // namespace albert_fast::bindings

#include "bindings/module.h"

#include <pybind11/stl.h>

#include <exception>
#include <string>

#include "bindings/backends.h"
#include "cpu/runtime/executor.h"
#include "cpu/table.h"
#include "kernels/errors.h"

namespace albert_fast::bindings {
namespace {

namespace py = pybind11;

/// Raises the class of albert_fast.errors that has the C++ class's name.
void raise(const char* name, const std::exception& error) {
  const py::object type = py::module_::import("albert_fast.errors").attr(name);
  PyErr_SetString(type.ptr(), error.what());
}

void translate(std::exception_ptr pointer) {
  try {
    std::rethrow_exception(pointer);
  } catch (const InvalidInputError& error) {
    raise("InvalidInputError", error);
  } catch (const ConfigError& error) {
    raise("ConfigError", error);
  } catch (const CheckpointError& error) {
    raise("CheckpointError", error);
  } catch (const DeviceError& error) {
    raise("DeviceError", error);
  }
}

}  // namespace
}  // namespace albert_fast::bindings

PYBIND11_MODULE(_core, m) {
  namespace bindings = albert_fast::bindings;
  namespace cpu = albert_fast::cpu;
  m.doc() = "The C++ core of albert_fast.";
  pybind11::register_exception_translator(&bindings::translate);
  m.def("available_isas", &cpu::available_isas, "CPU instruction sets this machine runs, the best first.");
  m.def("default_isa", &cpu::default_isa, "The one in use: ALBERT_FAST_CPU_ISA, or the best.");
  m.def("default_num_threads", &cpu::default_num_threads, "CPUs this process may use.");
  m.def("cuda_unavailable_reason", &bindings::cuda_unavailable_reason, "Empty if a GPU can be used.");
  m.def("load_cuda_backend", &bindings::load_cuda_backend, pybind11::arg("path"),
        "Takes the CUDA backend from another library than the installed one; '' goes back.");
  m.def("cuda_backend_path", &bindings::cuda_backend_path, "That library, or '' for the installed one.");
  bindings::register_weights(m);
  bindings::register_encoder(m);
  bindings::register_ops(m);
  bindings::register_training(m);
  bindings::register_device_array(m);
}

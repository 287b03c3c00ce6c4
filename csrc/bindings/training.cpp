// EncoderTraining in Python.
#include "engine/training.h"

#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/module.h"
#include "bindings/py_ops.h"
#include "bindings/run.h"

namespace albert_fast::bindings {
namespace {

/// Thread-safe: each call has a workspace of its own; one is kept for the next call, and only touched with the GIL
/// held.
class PyTraining {
 public:
  PyTraining(const std::string& device, const std::string& isa, const std::string& dtype, const LayerShape& shape,
             std::vector<int32_t> layers, KeepPolicy keep)
      : ops(find_ops(device, isa, parse_dtype(dtype))), engine(ops, shape, std::move(layers), keep) {}

  const Ops& ops;
  const EncoderTraining engine;

  std::unique_ptr<DeviceBuffer> acquire() { return idle_ ? std::move(idle_) : std::make_unique<DeviceBuffer>(ops); }
  void release(std::unique_ptr<DeviceBuffer> workspace) {
    if (!idle_ || idle_->bytes() < workspace->bytes()) idle_ = std::move(workspace);
  }

  int64_t hidden_size() const { return engine.layer().shape().hidden_size; }
  GradientLayout layout() const { return engine.layer().gradient_layout(); }
  int64_t saved_size(int64_t num_tokens) const {
    return static_cast<int64_t>(engine.saved_bytes(num_tokens)) / size_of(ops.dtype);
  }

 private:
  std::unique_ptr<DeviceBuffer> idle_;
};

/// What forward and backward have in common, checked.
TrainingCall checked_call(const PyTraining& self, Arguments& arguments, const py::array& cu_seqlens,
                          const std::vector<py::object>& parameters, const py::object& saved, int64_t num_tokens,
                          uint64_t seed) {
  const int32_t* offsets = checked_cu_seqlens(cu_seqlens, num_tokens);
  const auto expected = static_cast<size_t>(self.engine.num_parameter_sets() * kLayerTensors);
  if (parameters.size() != expected) {
    throw InvalidInputError("parameters: got " + std::to_string(parameters.size()) + " tensors, expected " +
                            std::to_string(expected) + ", " + std::to_string(kLayerTensors) + " for each set");
  }
  const GradientLayout layout = self.layout();
  TrainingCall call;
  call.cu_seqlens.assign(offsets, offsets + sequences_of(cu_seqlens) + 1);
  call.parameters.resize(self.engine.num_parameter_sets());
  for (size_t i = 0; i < expected; ++i) {
    const auto tensor = static_cast<LayerTensor>(i % kLayerTensors);
    const std::string name = "parameters[" + std::to_string(i) + "]";
    const int64_t rows = layout.rows(tensor), cols = layout.cols(tensor);
    call.parameters[i / kLayerTensors][tensor] = cols == 1
                                                     ? arguments.vector(name.c_str(), parameters[i], rows)
                                                     : arguments.matrix(name.c_str(), parameters[i], rows, cols).data;
  }
  call.seed = seed;
  call.saved = arguments.output_vector("saved", saved, self.ops.dtype, self.saved_size(num_tokens));
  return call;
}

void forward(PyTraining& self, const py::object& x, const py::array& cu_seqlens,
             const std::vector<py::object>& parameters, const py::object& out, const py::object& saved, uint64_t seed,
             Threads threads, uintptr_t stream) {
  const How how{threads, stream};
  Arguments arguments(self.ops, how);
  const Matrix from = arguments.matrix("x", x, -1, self.hidden_size());
  const Matrix y = arguments.output("out", out, from.rows, from.cols);
  const TrainingCall call = checked_call(self, arguments, cu_seqlens, parameters, saved, from.rows, seed);
  std::unique_ptr<DeviceBuffer> workspace = self.acquire();
  run(self.ops, how, [&](Stream on) { self.engine.forward(call, from, y, *workspace, on); });
  self.release(std::move(workspace));
}

/// The bits of WeightProduct by name; all of them for None.
uint32_t products_of(const std::optional<std::vector<std::string>>& names) {
  if (!names) return kAllProducts;
  uint32_t products = 0;
  for (const std::string& name : *names) {
    if (name == "ffn_output") {
      products |= kFfnOutputProduct;
    } else if (name == "ffn") {
      products |= kFfnProduct;
    } else if (name == "dense") {
      products |= kDenseProduct;
    } else if (name == "projections") {
      products |= kProjectionsProduct;
    } else {
      throw InvalidInputError("products: got '" + name + "', expected 'projections', 'dense', 'ffn' or 'ffn_output'");
    }
  }
  return products;
}

void backward(PyTraining& self, const py::object& dy, const py::array& cu_seqlens,
              const std::vector<py::object>& parameters, const py::object& saved, uint64_t seed, int64_t chunk,
              const std::optional<std::vector<std::string>>& products, const py::object& dx,
              const std::vector<py::object>& gradients, Threads threads, uintptr_t stream) {
  const How how{threads, stream};
  Arguments arguments(self.ops, how);
  const Matrix from = arguments.matrix("dy", dy, -1, self.hidden_size());
  const Matrix to = arguments.output("dx", dx, from.rows, from.cols);
  TrainingCall call = checked_call(self, arguments, cu_seqlens, parameters, saved, from.rows, seed);
  call.products = products_of(products);
  if (gradients.size() != call.parameters.size()) {
    throw InvalidInputError("gradients: got " + std::to_string(gradients.size()) + " arrays, expected " +
                            std::to_string(call.parameters.size()) + ", one for each set of parameters");
  }
  if (chunk < 1) throw InvalidInputError("chunk: got " + std::to_string(chunk) + ", expected at least 1");
  std::vector<void*> buffers;
  for (const py::object& gradient : gradients) {
    buffers.push_back(arguments.output_vector("gradients", gradient, self.ops.sum_dtype, self.layout().size()));
  }
  std::unique_ptr<DeviceBuffer> workspace = self.acquire();
  run(self.ops, how, [&](Stream on) { self.engine.backward(call, from, to, buffers, chunk, *workspace, on); });
  self.release(std::move(workspace));
}

size_t step_bytes(const PyTraining& self, const py::array& cu_seqlens, int64_t chunk, Threads threads,
                  uintptr_t stream) {
  const int64_t entries = sequences_of(cu_seqlens) + 1;
  const int32_t* offsets = as_ints("cu_seqlens", cu_seqlens);
  checked_cu_seqlens(cu_seqlens, offsets[entries - 1]);
  const std::vector<int32_t> sequences(offsets, offsets + entries);
  size_t bytes = 0;
  run(self.ops, How{threads, stream}, [&](Stream on) { bytes = self.engine.step_bytes(sequences, chunk, on); });
  return bytes;
}

std::vector<int64_t> gradient_offsets(const PyTraining& self) {
  std::vector<int64_t> offsets;
  for (int i = 0; i < kLayerTensors; ++i) offsets.push_back(self.layout().offset(static_cast<LayerTensor>(i)));
  return offsets;
}

}  // namespace

void register_training(py::module_& m) {
  const auto none = py::none();
  const auto threads = py::arg("num_threads") = none;
  const auto stream = py::arg("stream") = 0;
  py::class_<PyTraining>(m, "EncoderTraining", "An encoder's forward and backward pass; parameters are the caller's.")
      .def(py::init([](int64_t hidden_size, int64_t intermediate_size, int64_t num_attention_heads,
                       const std::string& activation, double layer_norm_eps, double hidden_dropout,
                       double attention_dropout, std::vector<int32_t> layers, int64_t keep_every,
                       const std::string& dtype, const std::string& device, const std::string& isa) {
             const LayerShape shape{hidden_size,
                                    intermediate_size,
                                    num_attention_heads,
                                    parse_activation(activation),
                                    layer_norm_eps,
                                    checked_probability("hidden_dropout", hidden_dropout),
                                    checked_probability("attention_dropout", attention_dropout)};
             return std::make_unique<PyTraining>(device, isa, dtype, shape, std::move(layers), KeepPolicy{keep_every});
           }),
           py::kw_only(), py::arg("hidden_size"), py::arg("intermediate_size"), py::arg("num_attention_heads"),
           py::arg("activation"), py::arg("layer_norm_eps"), py::arg("hidden_dropout"), py::arg("attention_dropout"),
           py::arg("layers"), py::arg("keep_every"), py::arg("dtype") = "float32", py::arg("device") = "cpu",
           py::arg("isa") = "")
      .def("saved_size", &PyTraining::saved_size, py::arg("num_tokens"),
           "Elements of the table's dtype that `forward` leaves for `backward`.")
      .def(
          "chunk_layer_bytes",
          [](const PyTraining& self, int64_t num_tokens) { return self.engine.chunk_layer_bytes(num_tokens); },
          py::arg("num_tokens"), "Memory that each layer of a chunk takes in `backward`.")
      .def("step_bytes", &step_bytes, py::arg("cu_seqlens"), py::arg("chunk"), py::kw_only(), threads, stream,
           "Memory of a forward and backward pass beyond parameters, gradients and the arrays it is given.")
      .def_property_readonly("gradient_offsets", &gradient_offsets,
                             "Where each of a set's tensors has its gradient in the buffer, in elements.")
      .def_property_readonly("gradient_size", [](const PyTraining& self) { return self.layout().size(); })
      .def_property_readonly("gradient_dtype", [](const PyTraining& self) { return name_of(self.ops.sum_dtype); })
      .def("forward", &forward, py::arg("x"), py::arg("cu_seqlens"), py::arg("parameters"), py::kw_only(),
           py::arg("out"), py::arg("saved"), py::arg("seed") = 0, threads, stream,
           "x [T, H] through all layers into `out` [T, H].")
      .def("backward", &backward, py::arg("dy"), py::arg("cu_seqlens"), py::arg("parameters"), py::arg("saved"),
           py::kw_only(), py::arg("seed") = 0, py::arg("chunk") = 1, py::arg("products") = none, py::arg("dx"),
           py::arg("gradients"), threads, stream,
           "dx [T, H] from dy [T, H], and every parameter's gradient into one flat array for each set; with `products`,"
           " names of products, only the weights' and biases' of those, and what is not wanted is not written.");
}

}  // namespace albert_fast::bindings

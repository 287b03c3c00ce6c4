// ModelConfig, WeightLayout and WeightBuffer in Python.
#include "engine/weights.h"

#include <pybind11/stl.h>

#include <memory>
#include <optional>

#include "bindings/arrays.h"
#include "bindings/backends.h"
#include "bindings/module.h"
#include "bindings/run.h"
#include "engine/convert.h"
#include "engine/support.h"

namespace albert_fast::bindings {
namespace {

WeightForm parse_form(const std::string& name) {
  if (name == "plain") return WeightForm::kPlain;
  if (name == "packed") return WeightForm::kPacked;
  throw InvalidInputError("form: got '" + name + "', expected 'plain' or 'packed'");
}

const char* form_name(WeightForm form) { return form == WeightForm::kPacked ? "packed" : "plain"; }

/// float32 or float64 rows [n, cols].
void write(WeightBuffer& buffer, const std::string& name, int64_t first_row, const py::array& rows) {
  if (rows.dtype().kind() != 'f' || rows.dtype().itemsize() < 4) {
    throw InvalidInputError("rows: got " + describe(rows) + ", expected float32 or float64 [n, cols]");
  }
  const auto dtype = numpy_dtype(host_dtype(buffer.layout().dtype()));
  const py::array converted = rows.attr("astype")(dtype, py::arg("order") = "C", py::arg("copy") = false);
  if (converted.ndim() != 2) throw InvalidInputError("rows: got " + describe(rows) + ", expected 2 dimensions");
  const ConstMatrix matrix(converted.data(), converted.shape(0), converted.shape(1), converted.shape(1));
  run(buffer.ops(), {1}, [&](Stream stream) { buffer.write(name, first_row, matrix, stream); });
}

py::array read(const WeightBuffer& buffer, const std::string& name) {
  for (const WeightTensor& tensor : buffer.layout().tensors()) {
    if (tensor.name != name) continue;
    py::array out(numpy_dtype(host_dtype(buffer.layout().dtype())), tensor.shape);
    const int64_t rows = tensor.shape[0], cols = tensor.shape.size() == 1 ? 1 : tensor.shape[1];
    buffer.read(name, {out.mutable_data(), rows, cols, cols}, Stream{});
    return out;
  }
  throw InvalidInputError("name: got '" + name + "', expected a tensor of the layout");
}

void register_config(py::module_& m) {
  py::class_<ModelConfig>(m, "ModelConfig", "The numbers the engine needs, validated.")
      .def(py::init([](int64_t vocab_size, int64_t embedding_size, int64_t hidden_size, int64_t num_hidden_layers,
                       int64_t num_hidden_groups, int64_t inner_group_num, int64_t num_attention_heads,
                       int64_t intermediate_size, int64_t max_position_embeddings, int64_t type_vocab_size,
                       std::string hidden_act, double layer_norm_eps, bool has_embedding_mapping) {
             ModelConfig config{vocab_size,           embedding_size,        hidden_size,
                                num_hidden_layers,    num_hidden_groups,     inner_group_num,
                                num_attention_heads,  intermediate_size,     max_position_embeddings,
                                type_vocab_size,      std::move(hidden_act), layer_norm_eps,
                                has_embedding_mapping};
             config.validate();
             return config;
           }),
           py::kw_only(), py::arg("vocab_size"), py::arg("embedding_size"), py::arg("hidden_size"),
           py::arg("num_hidden_layers"), py::arg("num_hidden_groups"), py::arg("inner_group_num"),
           py::arg("num_attention_heads"), py::arg("intermediate_size"), py::arg("max_position_embeddings"),
           py::arg("type_vocab_size"), py::arg("hidden_act"), py::arg("layer_norm_eps"),
           py::arg("has_embedding_mapping") = true);
}

void register_layout(py::module_& m) {
  py::class_<WeightSlot>(m, "WeightSlot", "One array of the weight buffer, as the ops want it.")
      .def_readonly("name", &WeightSlot::name)
      .def_readonly("rows", &WeightSlot::rows)
      .def_readonly("cols", &WeightSlot::cols)
      .def_property_readonly("form", [](const WeightSlot& slot) { return form_name(slot.form); })
      .def_readonly("offset", &WeightSlot::offset)
      .def_readonly("nbytes", &WeightSlot::nbytes);
  py::class_<WeightTensor>(m, "WeightTensor", "One array of a checkpoint: rows of a slot.")
      .def_readonly("name", &WeightTensor::name)
      .def_property_readonly("shape", [](const WeightTensor& tensor) { return py::tuple(py::cast(tensor.shape)); })
      .def_readonly("slot", &WeightTensor::slot)
      .def_readonly("first_row", &WeightTensor::first_row);
  py::class_<WeightLayout>(m, "WeightLayout", "The table of one weight buffer, from a config.")
      .def(py::init([](const ModelConfig& config, bool pooler, bool mlm_head, bool sop_head, const std::string& form,
                       const std::string& dtype) {
             return WeightLayout(config, {pooler, mlm_head, sop_head}, parse_form(form), parse_dtype(dtype));
           }),
           py::arg("config"), py::kw_only(), py::arg("pooler"), py::arg("mlm_head"), py::arg("sop_head"),
           py::arg("form") = "packed", py::arg("dtype") = "float32")
      .def_property_readonly("slots", &WeightLayout::slots)
      .def_property_readonly("tensors", &WeightLayout::tensors)
      .def_property_readonly("nbytes", &WeightLayout::nbytes)
      .def_property_readonly("dtype", [](const WeightLayout& l) { return name_of(l.dtype()); })
      .def_property_readonly("plain_dtype", [](const WeightLayout& l) { return name_of(l.plain_dtype()); })
      .def(
          "unsupported_on",
          [](const WeightLayout& l, const std::string& device) {
            return unsupported_by(find_ops(device, "", l.dtype()), l.config());
          },
          py::arg("device"), "Why the device cannot run a model of these sizes, or ''.")
      .def_property_readonly("host_dtype", [](const WeightLayout& l) { return name_of(host_dtype(l.dtype())); });
}

}  // namespace

void register_weights(py::module_& m) {
  register_config(m);
  register_layout(m);
  py::class_<WeightBuffer, std::shared_ptr<WeightBuffer>>(m, "WeightBuffer", "The one buffer of a model's weights.")
      .def(py::init([](const WeightLayout& layout, const std::optional<std::string>& isa, const std::string& device) {
             return std::make_shared<WeightBuffer>(layout, find_ops(device, isa.value_or(""), layout.dtype()));
           }),
           py::arg("layout"), py::arg("isa") = py::none(), py::arg("device") = "cpu")
      .def_property_readonly("layout", &WeightBuffer::layout, py::return_value_policy::reference_internal)
      .def_property_readonly("nbytes", [](const WeightBuffer& b) { return b.layout().nbytes(); })
      .def_property_readonly("ops", [](const WeightBuffer& b) { return b.ops().name; })
      .def_property_readonly("device",
                             [](const WeightBuffer& b) { return b.ops().device == Device::kCuda ? "cuda" : "cpu"; })
      .def("write", &write, py::arg("name"), py::arg("first_row"), py::arg("rows"),
           "Puts rows [n, cols] of a tensor (a vector is [n, 1]) into place.")
      .def(
          "finish", [](WeightBuffer& b) { run(b.ops(), {1}, [&](Stream stream) { b.finish(stream); }); },
          "Returns once everything written is in the device's memory.")
      .def("read", &read, py::arg("name"), "A tensor in plain form, copied out.")
      .def("missing", &WeightBuffer::missing, "Tensors not yet written completely.");
}

}  // namespace albert_fast::bindings

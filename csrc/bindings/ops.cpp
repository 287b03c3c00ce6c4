// Every op alone, for tests and microbenchmarks: albert_fast._core.ops.
#include "kernels/ops.h"

#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/arrays.h"
#include "bindings/backends.h"
#include "bindings/module.h"
#include "bindings/py_ops.h"
#include "bindings/run.h"
#include "engine/convert.h"

namespace albert_fast::bindings {
namespace {

/// A weight matrix [N, K] in packed form.
class PackedWeight {
 public:
  PackedWeight(const PyOps& self, const py::object& weight) : data(self.ops) {
    if (self.ops.pack_weight == nullptr) {
      throw InvalidInputError(std::string("ops: got ") + self.ops.name + ", which multiplies by plain weights");
    }
    Arguments arguments(self.ops, {});
    const Matrix plain = arguments.matrix("weight", weight);
    rows = plain.rows, cols = plain.cols;
    const DType dtype = unpacked(self.ops.weight_dtype);
    data.reserve(packed_bytes(self.ops.weight_dtype, rows, cols));
    std::vector<char> stored(rows * cols * size_of(dtype));
    if (!to_stored(dtype, plain.data, rows * cols, stored.data())) {
      throw InvalidInputError(std::string("weight: got NaN, infinity or a number beyond ") + name_of(dtype) +
                              ", expected finite numbers");
    }
    self.ops.pack_weight({{stored.data(), rows, cols, cols}, 0, rows, data.data()}, Stream{});
  }

  py::array unpack(const PyOps& self) const {
    py::array out(numpy_dtype(self.ops.dtype), std::vector<int64_t>{rows, cols});
    const DType dtype = unpacked(self.ops.weight_dtype);
    std::vector<char> stored(rows * cols * size_of(dtype));
    self.ops.unpack_weight({data.data(), 0, rows, {stored.data(), rows, cols, cols}}, Stream{});
    from_stored(dtype, stored.data(), rows * cols, out.mutable_data());
    return out;
  }

  DeviceBuffer data;
  int64_t rows;
  int64_t cols;
};

void linear(PyOps& self, const py::object& x, const py::object& weight, const py::object& bias,
            const std::string& activation, const py::object& residual, const py::object& out, Threads threads,
            uintptr_t stream) {
  const How how{threads, stream};
  Arguments arguments(self.ops, how);
  Linear op;
  op.x = arguments.matrix("x", x);
  if (py::isinstance<PackedWeight>(weight)) {
    const auto& packed = weight.cast<const PackedWeight&>();
    op.weight = {packed.data.data(), packed.rows, packed.cols, WeightForm::kPacked, self.ops.weight_dtype};
  } else {
    const Matrix plain = arguments.matrix("weight", weight);
    op.weight = {plain.data, plain.rows, plain.cols, WeightForm::kPlain, self.ops.dtype};
  }
  arguments.matrix("x", x, -1, op.weight.cols);
  if (!bias.is_none()) op.bias = arguments.vector("bias", bias, op.weight.rows);
  op.activation = parse_activation(activation);
  if (!residual.is_none()) op.residual = arguments.matrix("residual", residual, op.x.rows, op.weight.rows);
  op.y_dtype = output_dtype(out, self.ops);
  op.y = arguments.output("out", out, op.y_dtype, op.x.rows, op.weight.rows);
  run(self.ops, how, [&](Stream on) {
    op.scratch = self.scratch(self.ops.linear_scratch(op.x.rows, op.x.cols, on), on);
    self.ops.linear(op, on);
  });
}

void layer_norm(PyOps& self, const py::object& x, const py::object& gamma, const py::object& beta, double eps,
                const py::object& out, Threads threads, uintptr_t stream) {
  const How how{threads, stream};
  Arguments arguments(self.ops, how);
  const DType x_dtype = output_dtype(x, self.ops);
  const Matrix rows = arguments.matrix("x", x, x_dtype);
  const LayerNorm op{rows,
                     x_dtype,
                     arguments.vector("gamma", gamma, rows.cols),
                     arguments.vector("beta", beta, rows.cols),
                     eps,
                     arguments.output("out", out, rows.rows, rows.cols)};
  run(self.ops, how, [&](Stream on) { self.ops.layer_norm(op, on); });
}

void attention(PyOps& self, const py::object& qkv, const py::array& cu_seqlens, int64_t num_heads,
               const py::object& out, const py::object& lse, const PyDropout& dropout, Threads threads,
               uintptr_t stream) {
  const How how{threads, stream};
  Arguments arguments(self.ops, how);
  const Matrix y = arguments.output("out", out);
  if (num_heads < 1 || y.cols % num_heads != 0) {
    throw InvalidInputError("num_heads: got " + std::to_string(num_heads) + ", expected a divisor of " +
                            std::to_string(y.cols));
  }
  const Matrix x = arguments.matrix("qkv", qkv, y.rows, 3 * y.cols);
  const int32_t* offsets = checked_cu_seqlens(cu_seqlens, y.rows);
  const int64_t sequences = sequences_of(cu_seqlens);
  const int64_t longest = longest_of(offsets, sequences);
  Attention op{x, nullptr, sequences, longest, num_heads, y.cols / num_heads, y, {}};
  op.lse = lse.is_none() ? nullptr : arguments.output("lse", lse, self.ops.sum_dtype, y.rows, num_heads).data;
  op.dropout = parse_dropout(dropout);
  run(self.ops, how, [&](Stream on) {
    op.cu_seqlens = self.upload({{offsets, sequences + 1}}, on)[0];
    op.scratch = self.scratch(self.ops.attention_scratch(longest, op.head_dim, on), on);
    self.ops.attention(op, on);
  });
}

void embed(PyOps& self, const py::array& tokens, const py::array& positions, const py::array& token_types,
           const py::object& word, const py::object& position, const py::object& token_type, const py::object& gamma,
           const py::object& beta, double eps, const py::object& out, Threads threads, uintptr_t stream) {
  const How how{threads, stream};
  Arguments arguments(self.ops, how);
  const Matrix y = arguments.output("out", out);
  Embed op{nullptr,
           nullptr,
           nullptr,
           arguments.matrix("word", word, -1, y.cols),
           arguments.matrix("position", position, -1, y.cols),
           arguments.matrix("token_type", token_type, -1, y.cols),
           arguments.vector("gamma", gamma, y.cols),
           arguments.vector("beta", beta, y.cols),
           eps,
           y};
  const int32_t* ids[] = {checked_ints("tokens", tokens, y.rows, 0, op.word.rows),
                          checked_ints("positions", positions, y.rows, 0, op.position.rows),
                          checked_ints("token_types", token_types, y.rows, 0, op.token_type.rows)};
  run(self.ops, how, [&](Stream on) {
    const auto places = self.upload({{ids[0], y.rows}, {ids[1], y.rows}, {ids[2], y.rows}}, on);
    op.tokens = places[0], op.positions = places[1], op.token_types = places[2];
    self.ops.embed(op, on);
  });
}

void gather(PyOps& self, const py::object& x, const py::array& rows, const py::object& out, Threads threads,
            uintptr_t stream) {
  const How how{threads, stream};
  Arguments arguments(self.ops, how);
  const Matrix from = arguments.matrix("x", x), y = arguments.output("out", out, -1, from.cols);
  const int32_t* indices = checked_ints("rows", rows, y.rows, -1, from.rows);
  run(self.ops, how, [&](Stream on) { self.ops.gather({from, self.upload({{indices, y.rows}}, on)[0], y}, on); });
}

Pooling parse_pooling(const std::string& name) {
  if (name == "mean") return Pooling::kMean;
  if (name == "cls") return Pooling::kFirst;
  if (name == "each") return Pooling::kEach;
  throw InvalidInputError("pooling: got '" + name + "', expected 'mean', 'cls' or 'each'");
}

void pool(PyOps& self, const py::object& x, const py::array& cu_seqlens, const std::string& pooling,
          const py::object& out, Threads threads, uintptr_t stream) {
  const How how{threads, stream};
  Arguments arguments(self.ops, how);
  const Pooling kind = parse_pooling(pooling);
  const Matrix rows = arguments.matrix("x", x);
  const int32_t* offsets = checked_cu_seqlens(cu_seqlens, rows.rows);
  const int64_t sequences = sequences_of(cu_seqlens);
  const Matrix y =
      arguments.output("out", out, self.ops.sum_dtype, kind == Pooling::kEach ? rows.rows : sequences, rows.cols);
  run(self.ops, how,
      [&](Stream on) { self.ops.pool({rows, self.upload({{offsets, sequences + 1}}, on)[0], kind, y}, on); });
}

void l2_normalize(PyOps& self, const py::object& x, Threads threads, uintptr_t stream) {
  const How how{threads, stream};
  Arguments arguments(self.ops, how);
  const L2Normalize op{arguments.output("x", x, self.ops.sum_dtype)};
  run(self.ops, how, [&](Stream on) { self.ops.l2_normalize(op, on); });
}

}  // namespace

void register_ops(py::module_& m) {
  py::class_<PackedWeight>(m, "PackedWeight", "A weight matrix [N, K] in one instruction set's panels.")
      .def(py::init<const PyOps&, const py::object&>(), py::arg("ops"), py::arg("weight"))
      .def("unpack", &PackedWeight::unpack, py::arg("ops"), "[N, K], copied out.");
  const auto none = py::none();
  const auto threads = py::arg("num_threads") = none;
  const auto stream = py::arg("stream") = 0;
  py::class_<PyOps> ops(
      m, "Ops",
      "The ops of kernels/ops.h for one backend and dtype; `out` is overwritten. Arrays are NumPy's on the "
      "CPU and have DLPack on CUDA, integers are always NumPy's.");
  register_training_ops(ops);
  ops.def(py::init<const std::string&, const std::string&, const std::string&>(), py::arg("isa") = "",
          py::arg("dtype") = "float32", py::arg("device") = "cpu")
      .def_property_readonly("name", [](const PyOps& self) { return self.ops.name; })
      .def_property_readonly("dtype", [](const PyOps& self) { return name_of(self.ops.dtype); })
      .def_property_readonly("weight_dtype", [](const PyOps& self) { return name_of(self.ops.weight_dtype); })
      .def_property_readonly("sum_dtype", [](const PyOps& self) { return name_of(self.ops.sum_dtype); })
      .def(
          "describe_linear",
          [](const PyOps& self, int64_t num_tokens, int64_t rows, int64_t cols) {
            if (self.ops.device == Device::kCpu) return std::string();
            return cuda_backend().describe_linear(self.ops.dtype, num_tokens, rows, cols);
          },
          py::arg("num_tokens"), py::arg("rows"), py::arg("cols"),
          "The tiles that a product of [num_tokens, cols] by [rows, cols] would be cut into; empty on the CPU.")
      .def("linear", &linear, py::arg("x"), py::arg("weight"), py::arg("bias") = none, py::arg("activation") = "none",
           py::arg("residual") = none, py::kw_only(), py::arg("out"), threads, stream)
      .def("layer_norm", &layer_norm, py::arg("x"), py::arg("gamma"), py::arg("beta"), py::arg("eps"), py::kw_only(),
           py::arg("out"), threads, stream)
      .def("attention", &attention, py::arg("qkv"), py::arg("cu_seqlens"), py::arg("num_heads"), py::kw_only(),
           py::arg("out"), py::arg("lse") = none, py::arg("dropout") = none, threads, stream)
      .def("embed", &embed, py::arg("tokens"), py::arg("positions"), py::arg("token_types"), py::arg("word"),
           py::arg("position"), py::arg("token_type"), py::arg("gamma"), py::arg("beta"), py::arg("eps"), py::kw_only(),
           py::arg("out"), threads, stream)
      .def("gather", &gather, py::arg("x"), py::arg("rows"), py::kw_only(), py::arg("out"), threads, stream)
      .def("pool", &pool, py::arg("x"), py::arg("cu_seqlens"), py::arg("pooling"), py::kw_only(), py::arg("out"),
           threads, stream)
      .def("l2_normalize", &l2_normalize, py::arg("x"), py::kw_only(), threads, stream);
}

}  // namespace albert_fast::bindings

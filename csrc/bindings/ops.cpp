// Every op alone, for tests and microbenchmarks: albert_fast._core.ops.
#include "kernels/ops.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "bindings/arrays.h"
#include "bindings/cpu_run.h"
#include "bindings/module.h"
#include "cpu/table.h"
#include "engine/device_buffer.h"

namespace albert_fast::bindings {
namespace {

using Threads = std::optional<int64_t>;
using OptionalArray = std::optional<py::array>;

/// The ops of one instruction set and dtype, with scratch memory that lives as long.
class PyOps {
 public:
  PyOps(const std::string& isa, const std::string& dtype)
      : ops(cpu::find_ops(isa, parse_dtype(dtype))), scratch_(ops) {}

  const Ops& ops;

  /// Filled with NaN whenever it grows, so that an op that reads what it did not write shows it.
  Scratch scratch(size_t bytes) {
    if (bytes > scratch_.bytes()) {
      scratch_.reserve(bytes);
      std::memset(scratch_.data(), 0xff, bytes);
    }
    return {scratch_.data(), bytes};
  }

  ConstMatrix input(const char* name, const py::array& x, int64_t rows = -1, int64_t cols = -1) const {
    return as_matrix(name, x, ops.dtype, rows, cols);
  }
  const void* vector(const char* name, const py::array& x, int64_t size) const {
    return as_vector(name, x, numpy_dtype(ops.dtype), size);
  }

 private:
  DeviceBuffer scratch_;
};

/// A weight matrix [N, K] in packed form.
class PackedWeight {
 public:
  PackedWeight(const PyOps& self, const py::array& weight) : data(self.ops) {
    const ConstMatrix plain = self.input("weight", weight);
    rows = plain.rows, cols = plain.cols;
    const int64_t padded = (rows + kPackedRowMultiple - 1) / kPackedRowMultiple * kPackedRowMultiple;
    data.reserve(padded * cols * size_of(self.ops.dtype));
    self.ops.pack_weight({plain, 0, rows, data.data()}, Stream{});
  }

  py::array unpack(const PyOps& self) const {
    py::array out(numpy_dtype(self.ops.dtype), std::vector<int64_t>{rows, cols});
    self.ops.unpack_weight({data.data(), 0, rows, {out.mutable_data(), rows, cols, cols}}, Stream{});
    return out;
  }

  DeviceBuffer data;
  int64_t rows;
  int64_t cols;
};

Activation parse_activation(const std::string& name) {
  if (name == "none") return Activation::kNone;
  if (name == "gelu_new") return Activation::kGeluTanh;
  if (name == "gelu") return Activation::kGeluErf;
  if (name == "tanh") return Activation::kTanh;
  throw InvalidInputError("activation: got '" + name + "', expected 'none', 'gelu_new', 'gelu' or 'tanh'");
}

void linear(PyOps& self, const py::array& x, const py::object& weight, const OptionalArray& bias,
            const std::string& activation, const OptionalArray& residual, const py::array& out, Threads threads) {
  Linear op;
  op.x = self.input("x", x);
  if (py::isinstance<PackedWeight>(weight)) {
    const auto& packed = weight.cast<const PackedWeight&>();
    op.weight = {packed.data.data(), packed.rows, packed.cols, WeightForm::kPacked};
  } else {
    const ConstMatrix plain = self.input("weight", weight.cast<py::array>());
    op.weight = {plain.data, plain.rows, plain.cols, WeightForm::kPlain};
  }
  self.input("x", x, -1, op.weight.cols);
  if (bias) op.bias = self.vector("bias", *bias, op.weight.rows);
  op.activation = parse_activation(activation);
  if (residual) op.residual = self.input("residual", *residual, op.x.rows, op.weight.rows);
  op.y = as_matrix("out", out, self.ops.dtype, op.x.rows, op.weight.rows);
  run_on_cpu(threads, [&](Stream stream) {
    op.scratch = self.scratch(self.ops.linear_scratch(op.x.rows, op.x.cols, stream));
    self.ops.linear(op, stream);
  });
}

void layer_norm(PyOps& self, const py::array& x, const py::array& gamma, const py::array& beta, double eps,
                const py::array& out, Threads threads) {
  const ConstMatrix rows = self.input("x", x);
  const LayerNorm op{rows, self.vector("gamma", gamma, rows.cols), self.vector("beta", beta, rows.cols), eps,
                     as_matrix("out", out, self.ops.dtype, rows.rows, rows.cols)};
  run_on_cpu(threads, [&](Stream stream) { self.ops.layer_norm(op, stream); });
}

/// cu_seqlens as ops take it, once its entries are known to lie in [0, rows] and to ascend.
const int32_t* checked_cu_seqlens(const py::array& cu_seqlens, int64_t rows) {
  const int64_t sequences = sequences_of(cu_seqlens);
  const int32_t* data = as_ints("cu_seqlens", cu_seqlens);
  bool valid = data[0] == 0 && data[sequences] == rows;
  for (int64_t b = 0; b < sequences; ++b) valid = valid && data[b] <= data[b + 1];
  if (!valid) {
    throw InvalidInputError("cu_seqlens: got entries that do not ascend from 0 to " + std::to_string(rows));
  }
  return data;
}

void attention(PyOps& self, const py::array& qkv, const py::array& cu_seqlens, int64_t num_heads, const py::array& out,
               Threads threads) {
  const Matrix y = as_matrix("out", out, self.ops.dtype);
  if (num_heads < 1 || y.cols % num_heads != 0) {
    throw InvalidInputError("num_heads: got " + std::to_string(num_heads) + ", expected a divisor of " +
                            std::to_string(y.cols));
  }
  const ConstMatrix x = self.input("qkv", qkv, y.rows, 3 * y.cols);
  const int32_t* offsets = checked_cu_seqlens(cu_seqlens, y.rows);
  Attention op{x, offsets, sequences_of(cu_seqlens), num_heads, y.cols / num_heads, y, {}};
  int64_t longest = 0;
  for (int64_t b = 0; b < op.num_sequences; ++b) longest = std::max<int64_t>(longest, offsets[b + 1] - offsets[b]);
  run_on_cpu(threads, [&](Stream stream) {
    op.scratch = self.scratch(self.ops.attention_scratch(longest, op.head_dim, stream));
    self.ops.attention(op, stream);
  });
}

void embed(PyOps& self, const py::array& tokens, const py::array& positions, const py::array& token_types,
           const py::array& word, const py::array& position, const py::array& token_type, const py::array& gamma,
           const py::array& beta, double eps, const py::array& out, Threads threads) {
  const Matrix y = as_matrix("out", out, self.ops.dtype);
  const Embed op{as_ints("tokens", tokens, y.rows),
                 as_ints("positions", positions, y.rows),
                 as_ints("token_types", token_types, y.rows),
                 self.input("word", word, -1, y.cols),
                 self.input("position", position, -1, y.cols),
                 self.input("token_type", token_type, -1, y.cols),
                 self.vector("gamma", gamma, y.cols),
                 self.vector("beta", beta, y.cols),
                 eps,
                 y};
  for (int64_t t = 0; t < y.rows; ++t) {
    const bool inside = op.tokens[t] >= 0 && op.tokens[t] < op.word.rows && op.positions[t] >= 0 &&
                        op.positions[t] < op.position.rows && op.token_types[t] >= 0 &&
                        op.token_types[t] < op.token_type.rows;
    if (!inside) throw InvalidInputError("tokens: got an id out of range at index " + std::to_string(t));
  }
  run_on_cpu(threads, [&](Stream stream) { self.ops.embed(op, stream); });
}

void pool(PyOps& self, const py::array& x, const py::array& cu_seqlens, const std::string& pooling,
          const py::array& out, Threads threads) {
  if (pooling != "mean" && pooling != "cls") {
    throw InvalidInputError("pooling: got '" + pooling + "', expected 'mean' or 'cls'");
  }
  const ConstMatrix rows = self.input("x", x);
  const int32_t* offsets = checked_cu_seqlens(cu_seqlens, rows.rows);
  const Pool op{rows, offsets, pooling == "mean" ? Pooling::kMean : Pooling::kFirst,
                as_matrix("out", out, self.ops.dtype, sequences_of(cu_seqlens), rows.cols)};
  run_on_cpu(threads, [&](Stream stream) { self.ops.pool(op, stream); });
}

void l2_normalize(PyOps& self, const py::array& x, Threads threads) {
  const L2Normalize op{as_matrix("x", x, self.ops.dtype)};
  run_on_cpu(threads, [&](Stream stream) { self.ops.l2_normalize(op, stream); });
}

}  // namespace

void register_ops(py::module_& m) {
  py::class_<PackedWeight>(m, "PackedWeight", "A weight matrix [N, K] in one instruction set's panels.")
      .def(py::init<const PyOps&, const py::array&>(), py::arg("ops"), py::arg("weight"))
      .def("unpack", &PackedWeight::unpack, py::arg("ops"), "[N, K], copied out.");
  const auto none = py::none();
  py::class_<PyOps>(m, "Ops", "The ops of kernels/ops.h for one instruction set and dtype; `out` is overwritten.")
      .def(py::init<const std::string&, const std::string&>(), py::arg("isa") = "", py::arg("dtype") = "float32")
      .def_property_readonly("name", [](const PyOps& self) { return self.ops.name; })
      .def("linear", &linear, py::arg("x"), py::arg("weight"), py::arg("bias") = none, py::arg("activation") = "none",
           py::arg("residual") = none, py::kw_only(), py::arg("out"), py::arg("num_threads") = none)
      .def("layer_norm", &layer_norm, py::arg("x"), py::arg("gamma"), py::arg("beta"), py::arg("eps"), py::kw_only(),
           py::arg("out"), py::arg("num_threads") = none)
      .def("attention", &attention, py::arg("qkv"), py::arg("cu_seqlens"), py::arg("num_heads"), py::kw_only(),
           py::arg("out"), py::arg("num_threads") = none)
      .def("embed", &embed, py::arg("tokens"), py::arg("positions"), py::arg("token_types"), py::arg("word"),
           py::arg("position"), py::arg("token_type"), py::arg("gamma"), py::arg("beta"), py::arg("eps"), py::kw_only(),
           py::arg("out"), py::arg("num_threads") = none)
      .def("pool", &pool, py::arg("x"), py::arg("cu_seqlens"), py::arg("pooling"), py::kw_only(), py::arg("out"),
           py::arg("num_threads") = none)
      .def("l2_normalize", &l2_normalize, py::arg("x"), py::kw_only(), py::arg("num_threads") = none);
}

}  // namespace albert_fast::bindings

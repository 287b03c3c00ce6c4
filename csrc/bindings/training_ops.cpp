// The ops of kernels/training_ops.h alone, for tests and microbenchmarks: more methods of albert_fast._core.Ops.
#include "kernels/training_ops.h"

#include <pybind11/stl.h>

#include "bindings/arguments.h"
#include "bindings/py_ops.h"
#include "bindings/run.h"
#include "kernels/errors.h"

namespace albert_fast::bindings {
namespace {

Into parse_into(bool accumulate) { return accumulate ? Into::kAdd : Into::kOverwrite; }

void activate(PyOps& self, const py::object& x, const std::string& activation, const py::object& out, Threads threads,
              uintptr_t stream) {
  const How how{threads, stream};
  Arguments arguments(self.ops, how);
  const Matrix from = arguments.matrix("x", x);
  const Activate op{from, parse_activation(activation), arguments.output("out", out, from.rows, from.cols)};
  run(self.ops, how, [&](Stream on) { self.ops.activate(op, on); });
}

void activate_grad(PyOps& self, const py::object& x, const py::object& dy, const std::string& activation,
                   const py::object& dx, const py::object& y, Threads threads, uintptr_t stream) {
  const How how{threads, stream};
  Arguments arguments(self.ops, how);
  const Matrix from = arguments.matrix("x", x);
  ActivateGrad op{from,
                  arguments.matrix("dy", dy, from.rows, from.cols),
                  parse_activation(activation),
                  arguments.output("dx", dx, from.rows, from.cols),
                  {}};
  if (!y.is_none()) op.y = arguments.output("y", y, from.rows, from.cols);
  run(self.ops, how, [&](Stream on) { self.ops.activate_grad(op, on); });
}

void linear_input_grad(PyOps& self, const py::object& dy, const py::object& weight, const py::object& residual,
                       const py::object& dx, Threads threads, uintptr_t stream) {
  const How how{threads, stream};
  Arguments arguments(self.ops, how);
  LinearInputGrad op;
  const Matrix plain = arguments.matrix("weight", weight);
  op.weight = {plain.data, plain.rows, plain.cols, WeightForm::kPlain, self.ops.dtype};
  op.dy = arguments.matrix("dy", dy, -1, plain.rows);
  if (!residual.is_none()) op.residual = arguments.matrix("residual", residual, op.dy.rows, plain.cols);
  op.dx_dtype = output_dtype(dx, self.ops);
  op.dx = arguments.output("dx", dx, op.dx_dtype, op.dy.rows, plain.cols);
  run(self.ops, how, [&](Stream on) {
    op.scratch = self.scratch(self.ops.linear_input_grad_scratch(op.dy.rows, plain.rows, plain.cols, on), on);
    self.ops.linear_input_grad(op, on);
  });
}

void linear_weight_grad(PyOps& self, const py::object& dy, const py::object& x, const py::object& dweight,
                        const py::object& dbias, bool accumulate, Threads threads, uintptr_t stream) {
  const How how{threads, stream};
  Arguments arguments(self.ops, how);
  LinearWeightGrad op;
  op.dy = arguments.matrix("dy", dy);
  op.x = arguments.matrix("x", x, op.dy.rows, -1);
  op.dweight = arguments.output("dweight", dweight, self.ops.sum_dtype, op.dy.cols, op.x.cols);
  if (!dbias.is_none()) op.dbias = arguments.output_vector("dbias", dbias, self.ops.sum_dtype, op.dy.cols);
  op.into = parse_into(accumulate);
  run(self.ops, how, [&](Stream on) {
    op.scratch = self.scratch(self.ops.linear_weight_grad_scratch(op.dy.rows, op.dy.cols, op.x.cols, on), on);
    self.ops.linear_weight_grad(op, on);
  });
}

void layer_norm_grad(PyOps& self, const py::object& x, const py::object& gamma, double eps, const py::object& dy,
                     const py::object& dx, const py::object& dgamma, const py::object& dbeta, bool accumulate,
                     Threads threads, uintptr_t stream) {
  const How how{threads, stream};
  Arguments arguments(self.ops, how);
  LayerNormGrad op;
  op.x_dtype = output_dtype(x, self.ops), op.dy_dtype = output_dtype(dy, self.ops);
  const Matrix rows = arguments.matrix("x", x, op.x_dtype);
  op.x = rows;
  op.gamma = arguments.vector("gamma", gamma, rows.cols);
  op.eps = eps;
  op.dy = arguments.matrix("dy", dy, op.dy_dtype, rows.rows, rows.cols);
  op.dx = arguments.output("dx", dx, rows.rows, rows.cols);
  op.dgamma = arguments.output_vector("dgamma", dgamma, self.ops.sum_dtype, rows.cols);
  op.dbeta = arguments.output_vector("dbeta", dbeta, self.ops.sum_dtype, rows.cols);
  op.into = parse_into(accumulate);
  run(self.ops, how, [&](Stream on) {
    op.scratch = self.scratch(self.ops.layer_norm_grad_scratch(rows.rows, rows.cols, on), on);
    self.ops.layer_norm_grad(op, on);
  });
}

void attention_grad(PyOps& self, const py::object& qkv, const py::array& cu_seqlens, int64_t num_heads,
                    const py::object& out, const py::object& lse, const py::object& dout, const py::object& dqkv,
                    const PyDropout& dropout, Threads threads, uintptr_t stream) {
  const How how{threads, stream};
  Arguments arguments(self.ops, how);
  const Matrix y = arguments.matrix("out", out);
  if (num_heads < 1 || y.cols % num_heads != 0) {
    throw InvalidInputError("num_heads: got " + std::to_string(num_heads) + ", expected a divisor of " +
                            std::to_string(y.cols));
  }
  const int32_t* offsets = checked_cu_seqlens(cu_seqlens, y.rows);
  AttentionGrad op;
  op.qkv = arguments.matrix("qkv", qkv, y.rows, 3 * y.cols);
  op.num_sequences = sequences_of(cu_seqlens);
  op.max_seqlen = longest_of(offsets, op.num_sequences);
  op.num_heads = num_heads, op.head_dim = y.cols / num_heads;
  op.out = y;
  op.lse = arguments.matrix("lse", lse, self.ops.sum_dtype, y.rows, num_heads).data;
  op.dout = arguments.matrix("dout", dout, y.rows, y.cols);
  op.dropout = parse_dropout(dropout);
  op.dqkv = arguments.output("dqkv", dqkv, y.rows, 3 * y.cols);
  run(self.ops, how, [&](Stream on) {
    op.cu_seqlens = self.upload({{offsets, op.num_sequences + 1}}, on)[0];
    op.scratch = self.scratch(self.ops.attention_grad_scratch(y.rows, op.max_seqlen, num_heads, op.head_dim, on), on);
    self.ops.attention_grad(op, on);
  });
}

void embed_grad(PyOps& self, const py::array& tokens, const py::array& positions, const py::array& token_types,
                const py::object& word, const py::object& position, const py::object& token_type,
                const py::object& gamma, double eps, const py::object& dy, const py::object& dsum,
                const py::object& dgamma, const py::object& dbeta, bool accumulate, Threads threads, uintptr_t stream) {
  const How how{threads, stream};
  Arguments arguments(self.ops, how);
  const Matrix rows = arguments.matrix("dy", dy);
  EmbedGrad op;
  op.word = arguments.matrix("word", word, -1, rows.cols);
  op.position = arguments.matrix("position", position, -1, rows.cols);
  op.token_type = arguments.matrix("token_type", token_type, -1, rows.cols);
  op.gamma = arguments.vector("gamma", gamma, rows.cols);
  op.eps = eps;
  op.dy = rows;
  op.dsum = arguments.output("dsum", dsum, self.ops.sum_dtype, rows.rows, rows.cols);
  op.dgamma = arguments.output_vector("dgamma", dgamma, self.ops.sum_dtype, rows.cols);
  op.dbeta = arguments.output_vector("dbeta", dbeta, self.ops.sum_dtype, rows.cols);
  op.into = parse_into(accumulate);
  const int32_t* ids[] = {checked_ints("tokens", tokens, rows.rows, 0, op.word.rows),
                          checked_ints("positions", positions, rows.rows, 0, op.position.rows),
                          checked_ints("token_types", token_types, rows.rows, 0, op.token_type.rows)};
  run(self.ops, how, [&](Stream on) {
    const auto places = self.upload({{ids[0], rows.rows}, {ids[1], rows.rows}, {ids[2], rows.rows}}, on);
    op.tokens = places[0], op.positions = places[1], op.token_types = places[2];
    op.scratch = self.scratch(self.ops.layer_norm_grad_scratch(rows.rows, rows.cols, on), on);
    self.ops.embed_grad(op, on);
  });
}

/// `starts` ascend from 0 to the number of rows; that targets differ is the caller's word.
void scatter_add(PyOps& self, const py::object& x, const py::array& order, const py::array& starts,
                 const py::array& targets, const py::object& out, Threads threads, uintptr_t stream) {
  const How how{threads, stream};
  Arguments arguments(self.ops, how);
  const Matrix from = arguments.matrix("x", x, self.ops.sum_dtype);
  const Matrix into = arguments.output("out", out, self.ops.sum_dtype, -1, from.cols);
  const int64_t count = (as_ints("targets", targets), targets.shape(0));
  const int32_t* begin = checked_ints("starts", starts, count + 1, 0, from.rows + 1);
  const int32_t* rows = checked_ints("order", order, from.rows, 0, from.rows);
  const int32_t* to = checked_ints("targets", targets, count, 0, into.rows);
  run(self.ops, how, [&](Stream on) {
    const auto places = self.upload({{rows, from.rows}, {begin, count + 1}, {to, count}}, on);
    self.ops.scatter_add({from, places[0], places[1], places[2], count, into}, on);
  });
}

void apply_dropout(PyOps& self, const py::object& x, const PyDropout& dropout, const py::object& residual,
                   const py::object& out, Threads threads, uintptr_t stream) {
  const How how{threads, stream};
  Arguments arguments(self.ops, how);
  const Matrix from = arguments.matrix("x", x);
  ApplyDropout op{from, parse_dropout(dropout), {}, {}, output_dtype(out, self.ops)};
  if (!residual.is_none()) op.residual = arguments.matrix("residual", residual, from.rows, from.cols);
  op.y = arguments.output("out", out, op.y_dtype, from.rows, from.cols);
  run(self.ops, how, [&](Stream on) { self.ops.apply_dropout(op, on); });
}

void cross_entropy(PyOps& self, const py::object& logits, const py::array& labels, double scale,
                   const py::object& losses, const py::object& dlogits, Threads threads, uintptr_t stream) {
  const How how{threads, stream};
  Arguments arguments(self.ops, how);
  const Matrix from = arguments.matrix("logits", logits, self.ops.sum_dtype);
  CrossEntropy op{from, nullptr, scale, arguments.output_vector("losses", losses, self.ops.sum_dtype, from.rows),
                  arguments.output("dlogits", dlogits, from.rows, from.cols)};
  const int32_t* host = checked_ints("labels", labels, from.rows, INT32_MIN, from.cols);
  run(self.ops, how, [&](Stream on) {
    op.labels = self.upload({{host, from.rows}}, on)[0];
    self.ops.cross_entropy(op, on);
  });
}

}  // namespace

void register_training_ops(py::class_<PyOps>& ops) {
  const auto none = py::none();
  const auto threads = py::arg("num_threads") = none;
  const auto stream = py::arg("stream") = 0;
  const auto accumulate = py::arg("accumulate") = false;
  ops.def("activate", &activate, py::arg("x"), py::arg("activation"), py::kw_only(), py::arg("out"), threads, stream)
      .def("activate_grad", &activate_grad, py::arg("x"), py::arg("dy"), py::arg("activation"), py::kw_only(),
           py::arg("dx"), py::arg("y") = none, threads, stream)
      .def("linear_input_grad", &linear_input_grad, py::arg("dy"), py::arg("weight"), py::arg("residual") = none,
           py::kw_only(), py::arg("dx"), threads, stream)
      .def("linear_weight_grad", &linear_weight_grad, py::arg("dy"), py::arg("x"), py::kw_only(), py::arg("dweight"),
           py::arg("dbias") = none, accumulate, threads, stream)
      .def("layer_norm_grad", &layer_norm_grad, py::arg("x"), py::arg("gamma"), py::arg("eps"), py::arg("dy"),
           py::kw_only(), py::arg("dx"), py::arg("dgamma"), py::arg("dbeta"), accumulate, threads, stream)
      .def("attention_grad", &attention_grad, py::arg("qkv"), py::arg("cu_seqlens"), py::arg("num_heads"),
           py::arg("out"), py::arg("lse"), py::arg("dout"), py::kw_only(), py::arg("dqkv"), py::arg("dropout") = none,
           threads, stream)
      .def("embed_grad", &embed_grad, py::arg("tokens"), py::arg("positions"), py::arg("token_types"), py::arg("word"),
           py::arg("position"), py::arg("token_type"), py::arg("gamma"), py::arg("eps"), py::arg("dy"), py::kw_only(),
           py::arg("dsum"), py::arg("dgamma"), py::arg("dbeta"), accumulate, threads, stream)
      .def("scatter_add", &scatter_add, py::arg("x"), py::arg("order"), py::arg("starts"), py::arg("targets"),
           py::kw_only(), py::arg("out"), threads, stream)
      .def("apply_dropout", &apply_dropout, py::arg("x"), py::arg("dropout"), py::arg("residual") = none, py::kw_only(),
           py::arg("out"), threads, stream)
      .def("cross_entropy", &cross_entropy, py::arg("logits"), py::arg("labels"), py::kw_only(), py::arg("scale"),
           py::arg("losses"), py::arg("dlogits"), threads, stream);
}

}  // namespace albert_fast::bindings

// Encoder and EncoderState in Python.
#include "engine/encoder.h"

#include <pybind11/stl.h>

#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/cpu_run.h"
#include "bindings/module.h"

namespace albert_fast::bindings {
namespace {

using Threads = std::optional<int64_t>;
using OptionalArray = std::optional<py::array>;

class PyEncoder;

/// A batch between two iterations, as Python holds it.
class PyState {
 public:
  PyState(std::shared_ptr<const PyEncoder> encoder, std::unique_ptr<Session> session)
      : encoder(std::move(encoder)), session_(std::move(session)) {}

  std::shared_ptr<const PyEncoder> encoder;

  /// Throws if an interrupted iteration left the batch half done.
  Session& session() const {
    if (!intact_) throw InvalidInputError("state: got one whose last advance was interrupted, expected an intact one");
    return *session_;
  }
  void set_intact(bool intact) { intact_ = intact; }

 private:
  std::unique_ptr<Session> session_;
  bool intact_ = true;
};

/// Shared by threads. Idle sessions are kept for the next call; the list is only touched with the GIL held.
class PyEncoder : public std::enable_shared_from_this<PyEncoder> {
 public:
  explicit PyEncoder(std::shared_ptr<WeightBuffer> weights) : weights_(std::move(weights)), encoder_(*weights_) {}

  const Encoder& get() const { return encoder_; }
  DType dtype() const { return encoder_.ops().dtype; }
  int64_t hidden_size() const { return encoder_.config().hidden_size; }

  py::array array(int64_t rows, int64_t cols) const {
    return py::array(numpy_dtype(dtype()), std::vector<int64_t>{rows, cols});
  }

  std::unique_ptr<Session> acquire() {
    if (idle_.empty()) return std::make_unique<Session>(encoder_.ops());
    std::unique_ptr<Session> session = std::move(idle_.back());
    idle_.pop_back();
    return session;
  }
  void release(std::unique_ptr<Session> session) { idle_.push_back(std::move(session)); }

 private:
  std::shared_ptr<WeightBuffer> weights_;
  Encoder encoder_;
  std::vector<std::unique_ptr<Session>> idle_;
};

/// A session for the length of one call.
class Lease {
 public:
  explicit Lease(PyEncoder& encoder) : encoder_(encoder), session_(encoder.acquire()) {}
  ~Lease() { encoder_.release(std::move(session_)); }
  Session& operator*() const { return *session_; }

 private:
  PyEncoder& encoder_;
  std::unique_ptr<Session> session_;
};

/// The four arrays of a ragged batch; missing positions count from 0 in each sequence, missing token types are 0.
struct BatchArrays {
  BatchArrays(const py::array& tokens, const py::array& cu_seqlens, const OptionalArray& positions,
              const OptionalArray& token_types) {
    const int64_t rows = (as_ints("tokens", tokens), tokens.shape(0));
    batch = {as_ints("tokens", tokens),         nullptr, nullptr,
             as_ints("cu_seqlens", cu_seqlens), rows,    sequences_of(cu_seqlens)};
    if (positions) {
      batch.positions = as_ints("positions", *positions, rows);
    } else {
      own_positions.resize(rows);
      for (int64_t b = 0; b < batch.num_sequences; ++b) {
        const int64_t begin = batch.cu_seqlens[b], end = batch.cu_seqlens[b + 1];
        for (int64_t t = begin < 0 ? 0 : begin; t < end && t < rows; ++t) own_positions[t] = int32_t(t - begin);
      }
      batch.positions = own_positions.data();
    }
    own_types.resize(token_types ? 0 : rows);
    batch.token_types = token_types ? as_ints("token_types", *token_types, rows) : own_types.data();
  }

  RaggedBatch batch;
  std::vector<int32_t> own_positions;
  std::vector<int32_t> own_types;
};

enum class Features { kTokens, kMean, kFirst, kPooler };

Features parse_pooling(const std::optional<std::string>& name) {
  if (!name) return Features::kTokens;
  if (*name == "mean") return Features::kMean;
  if (*name == "cls") return Features::kFirst;
  if (*name == "pooler") return Features::kPooler;
  throw InvalidInputError("pooling: got '" + *name + "', expected 'mean', 'cls', 'pooler' or None");
}

void copy_hidden(const Encoder& encoder, const Session& session, void* out) {
  const Matrix hidden = encoder.hidden_states(session);
  const size_t bytes = hidden.rows * hidden.cols * size_of(encoder.ops().dtype);
  if (bytes > 0) std::memcpy(out, hidden.data, bytes);
}

/// From the session's finished batch to `out`; `first` [B, H] is room for the pooler's input.
void write_features(const Encoder& encoder, Session& session, Features features, bool normalize, Matrix first,
                    Matrix out, Stream stream) {
  if (features == Features::kTokens) {
    copy_hidden(encoder, session, out.data);
  } else if (features == Features::kPooler) {
    encoder.pool(session, Pooling::kFirst, first, stream);
    encoder.pooler(first, out, session, stream);
  } else {
    encoder.pool(session, features == Features::kMean ? Pooling::kMean : Pooling::kFirst, out, stream);
  }
  if (normalize) encoder.ops().l2_normalize({out}, stream);
}

py::array encode(PyEncoder& self, const py::array& tokens, const py::array& cu_seqlens, const OptionalArray& positions,
                 const OptionalArray& token_types, const std::optional<std::string>& pooling, bool normalize,
                 Threads num_threads) {
  const BatchArrays arrays(tokens, cu_seqlens, positions, token_types);
  const Features features = parse_pooling(pooling);
  const int64_t h = self.hidden_size(), sequences = arrays.batch.num_sequences;
  const int64_t rows = features == Features::kTokens ? arrays.batch.num_tokens : sequences;
  py::array out = self.array(rows, h);
  py::array first = self.array(features == Features::kPooler ? sequences : 0, h);
  const Matrix out_rows{out.mutable_data(), rows, h, h}, first_rows{first.mutable_data(), sequences, h, h};
  const Lease session(self);
  run_on_cpu(num_threads, [&](Stream stream) {
    self.get().embed(arrays.batch, *session, stream);
    while (self.get().advance(*session, stream)) {
    }
    write_features(self.get(), *session, features, normalize, first_rows, out_rows, stream);
  });
  return out;
}

std::vector<py::array> hidden_states(PyEncoder& self, const py::array& tokens, const py::array& cu_seqlens,
                                     const OptionalArray& positions, const OptionalArray& token_types,
                                     Threads num_threads) {
  const BatchArrays arrays(tokens, cu_seqlens, positions, token_types);
  std::vector<py::array> states;
  for (int64_t i = 0; i <= self.get().config().num_hidden_layers; ++i) {
    states.push_back(self.array(arrays.batch.num_tokens, self.hidden_size()));
  }
  std::vector<void*> data;
  for (py::array& state : states) data.push_back(state.mutable_data());
  const Lease session(self);
  run_on_cpu(num_threads, [&](Stream stream) {
    self.get().embed(arrays.batch, *session, stream);
    for (void* out : data) {
      copy_hidden(self.get(), *session, out);
      self.get().advance(*session, stream);
    }
  });
  return states;
}

/// One of the three heads: rows [n, H] in, [n, cols] out.
template <typename Head>
py::array apply_head(PyEncoder& self, const py::array& x, int64_t cols, Threads num_threads, const Head& head) {
  const ConstMatrix rows = as_matrix("x", x, self.dtype(), -1, self.hidden_size());
  py::array out = self.array(rows.rows, cols);
  const Matrix out_rows{out.mutable_data(), rows.rows, cols, cols};
  const Lease session(self);
  run_on_cpu(num_threads, [&](Stream stream) { (self.get().*head)(rows, out_rows, *session, stream); });
  return out;
}

PyState start(PyEncoder& self, const py::array& tokens, const py::array& cu_seqlens, const OptionalArray& positions,
              const OptionalArray& token_types, Threads num_threads) {
  const BatchArrays arrays(tokens, cu_seqlens, positions, token_types);
  auto session = std::make_unique<Session>(self.get().ops());
  run_on_cpu(num_threads, [&](Stream stream) { self.get().embed(arrays.batch, *session, stream); });
  return PyState(self.shared_from_this(), std::move(session));
}

bool advance(PyState& state, Threads num_threads) {
  Session& session = state.session();
  bool advanced = false;
  state.set_intact(false);
  run_on_cpu(num_threads, [&](Stream stream) { advanced = state.encoder->get().advance(session, stream); });
  state.set_intact(true);
  return advanced;
}

PyState join(const std::vector<const PyState*>& states) {
  if (states.empty()) throw InvalidInputError("states: got an empty list, expected at least one state");
  std::vector<const Session*> parts;
  for (const PyState* state : states) {
    if (state->encoder != states.front()->encoder) {
      throw InvalidInputError("states: got states of different encoders, expected states of one");
    }
    parts.push_back(&state->session());
  }
  const auto& encoder = states.front()->encoder;
  auto session = std::make_unique<Session>(encoder->get().ops());
  encoder->get().join(parts, *session);
  return PyState(encoder, std::move(session));
}

py::array state_hidden(const PyState& state) {
  const Session& session = state.session();
  py::array out = state.encoder->array(session.progress().num_tokens(), state.encoder->hidden_size());
  copy_hidden(state.encoder->get(), session, out.mutable_data());
  return out;
}

void register_state(py::module_& m) {
  py::class_<PyState>(m, "EncoderState", "A ragged batch between two iterations; each sequence has its own depth.")
      .def("advance", &advance, py::arg("num_threads") = py::none(),
           "One iteration for every sequence that is not done; False if all were.")
      .def("hidden_states", &state_hidden, "[T, H], copied.")
      .def_property_readonly("depths", [](const PyState& s) { return s.session().progress().depths; })
      .def_property_readonly("cu_seqlens", [](const PyState& s) { return s.session().progress().cu_seqlens; })
      .def_static("join", &join, py::arg("states"), "One batch of several, each sequence at its depth.");
}

}  // namespace

void register_encoder(py::module_& m) {
  register_state(m);
  const auto none = py::none();
  py::class_<PyEncoder, std::shared_ptr<PyEncoder>>(m, "Encoder", "The model over one weight buffer; thread-safe.")
      .def(py::init<std::shared_ptr<WeightBuffer>>(), py::arg("weights"))
      .def("encode", &encode, py::arg("tokens"), py::arg("cu_seqlens"), py::arg("positions") = none,
           py::arg("token_types") = none, py::kw_only(), py::arg("pooling") = none, py::arg("normalize") = false,
           py::arg("num_threads") = none, "Features [B, H], or [T, H] without pooling.")
      .def("hidden_states", &hidden_states, py::arg("tokens"), py::arg("cu_seqlens"), py::arg("positions") = none,
           py::arg("token_types") = none, py::kw_only(), py::arg("num_threads") = none,
           "[T, H] after the mapping and after every iteration.")
      .def("start", &start, py::arg("tokens"), py::arg("cu_seqlens"), py::arg("positions") = none,
           py::arg("token_types") = none, py::kw_only(), py::arg("num_threads") = none,
           "A batch at depth 0, to be advanced.")
      .def(
          "pooler",
          [](PyEncoder& self, const py::array& x, Threads threads) {
            return apply_head(self, x, self.hidden_size(), threads, &Encoder::pooler);
          },
          py::arg("x"), py::arg("num_threads") = none, "tanh(W x + b) of first tokens [n, H].")
      .def(
          "mlm_logits",
          [](PyEncoder& self, const py::array& x, Threads threads) {
            return apply_head(self, x, self.get().config().vocab_size, threads, &Encoder::mlm_logits);
          },
          py::arg("x"), py::arg("num_threads") = none, "[n, V] of hidden states [n, H].")
      .def(
          "sop_logits",
          [](PyEncoder& self, const py::array& x, Threads threads) {
            return apply_head(self, x, 2, threads, &Encoder::sop_logits);
          },
          py::arg("x"), py::arg("num_threads") = none, "[n, 2] of pooled rows [n, H].");
}

}  // namespace albert_fast::bindings

// Encoder and EncoderState in Python.
#include "engine/encoder.h"

#include <pybind11/stl.h>

#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/arrays.h"
#include "bindings/module.h"
#include "bindings/run.h"

namespace albert_fast::bindings {
namespace {

using Threads = std::optional<int64_t>;
using OptionalArray = std::optional<py::array>;

/// What a call works in: a session, and on CUDA room for results on their way to the host.
struct Workplace {
  explicit Workplace(const Ops& ops) : session(ops), results(ops) {}

  Session session;
  DeviceBuffer results;
};

/// Shared by threads. Idle workplaces are kept for the next call on the same stream, where all work is in order; the
/// lists are only touched with the GIL held.
class PyEncoder {
 public:
  explicit PyEncoder(std::shared_ptr<WeightBuffer> weights) : weights_(std::move(weights)), encoder_(*weights_) {}

  const Encoder& get() const { return encoder_; }
  const Ops& ops() const { return encoder_.ops(); }
  int64_t hidden_size() const { return encoder_.config().hidden_size; }

  std::unique_ptr<Workplace> acquire(uintptr_t stream) {
    auto& idle = idle_[stream];
    if (idle.empty()) return std::make_unique<Workplace>(ops());
    std::unique_ptr<Workplace> workplace = std::move(idle.back());
    idle.pop_back();
    return workplace;
  }
  void release(uintptr_t stream, std::unique_ptr<Workplace> workplace) {
    idle_[stream].push_back(std::move(workplace));
  }

 private:
  std::shared_ptr<WeightBuffer> weights_;
  Encoder encoder_;
  std::map<uintptr_t, std::vector<std::unique_ptr<Workplace>>> idle_;
};

/// A workplace until this object goes.
class Lease {
 public:
  Lease(std::shared_ptr<PyEncoder> encoder, uintptr_t stream)
      : encoder_(std::move(encoder)), stream_(stream), workplace_(encoder_->acquire(stream)) {}
  Lease(Lease&&) = default;
  ~Lease() {
    if (workplace_ != nullptr) encoder_->release(stream_, std::move(workplace_));
  }

  PyEncoder& owner() const { return *encoder_; }
  const Encoder& encoder() const { return encoder_->get(); }
  const Ops& ops() const { return encoder_->ops(); }
  uintptr_t stream() const { return stream_; }
  Session& session() const { return workplace_->session; }
  DeviceBuffer& results() const { return workplace_->results; }

 private:
  std::shared_ptr<PyEncoder> encoder_;
  uintptr_t stream_;
  std::unique_ptr<Workplace> workplace_;
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

/// work(Matrix [rows, cols] of `dtype`, Stream), which ends in `out`, or if that is None in a new NumPy array.
template <typename Work>
py::object produce(const Lease& lease, Threads num_threads, const py::object& out, DType dtype, int64_t rows,
                   int64_t cols, const Work& work) {
  const Ops& ops = lease.ops();
  const How how{num_threads, lease.stream()};
  if (!out.is_none()) {
    Arguments arguments(ops, how);
    const Matrix target = arguments.output("out", out, dtype, rows, cols);
    run(ops, how, [&](Stream stream) { work(target, stream); });
    return out;
  }
  py::array array(numpy_dtype(dtype), std::vector<int64_t>{rows, cols});
  void* host = array.mutable_data();
  const size_t bytes = rows * cols * size_of(dtype);
  const bool on_host = ops.device == Device::kCpu;
  run(ops, how, [&](Stream stream) {
    if (!on_host) lease.results().reserve(bytes);
    work(Matrix{on_host ? host : lease.results().data(), rows, cols, cols}, stream);
    if (!on_host) ops.download(host, lease.results().data(), bytes, stream);
  });
  return array;
}

/// From the session's finished batch to `out`.
void write_features(const Encoder& encoder, Session& session, Features features, bool normalize, Matrix out,
                    Stream stream) {
  if (features == Features::kPooler) {
    encoder.pooler(session, out, stream);
  } else {
    const Pooling pooling = features == Features::kMean    ? Pooling::kMean
                            : features == Features::kFirst ? Pooling::kFirst
                                                           : Pooling::kEach;
    encoder.pool(session, pooling, out, stream);
  }
  if (normalize) encoder.ops().l2_normalize({out}, stream);
}

py::object encode(const std::shared_ptr<PyEncoder>& self, const py::array& tokens, const py::array& cu_seqlens,
                  const OptionalArray& positions, const OptionalArray& token_types,
                  const std::optional<std::string>& pooling, bool normalize, const py::object& out, Threads num_threads,
                  uintptr_t stream) {
  const BatchArrays arrays(tokens, cu_seqlens, positions, token_types);
  const Features features = parse_pooling(pooling);
  const int64_t rows = features == Features::kTokens ? arrays.batch.num_tokens : arrays.batch.num_sequences;
  const Lease lease(self, stream);
  const auto work = [&](Matrix target, Stream on) {
    const Encoder& encoder = lease.encoder();
    encoder.start(arrays.batch, lease.session(), on);
    encoder.embed(lease.session(), on);
    while (encoder.advance(lease.session(), on)) {
    }
    write_features(encoder, lease.session(), features, normalize, target, on);
  };
  return produce(lease, num_threads, out, self->ops().sum_dtype, rows, self->hidden_size(), work);
}

/// A batch between two iterations, as Python holds it.
class PyState {
 public:
  explicit PyState(Lease lease) : lease_(std::move(lease)) {}

  const Lease& lease() const { return lease_; }

  /// Throws if an interrupted iteration left the batch half done.
  Session& session() const {
    if (!intact_) throw InvalidInputError("state: got one whose last advance was interrupted, expected an intact one");
    return lease_.session();
  }
  void set_intact(bool intact) { intact_ = intact; }

  /// One of the things computed from a batch.
  template <typename Work>
  py::object produce(Threads num_threads, const py::object& out, DType dtype, int64_t rows, int64_t cols,
                     const Work& work) const {
    Session& batch = session();
    return bindings::produce(lease_, num_threads, out, dtype, rows, cols,
                             [&](Matrix target, Stream stream) { work(lease_.encoder(), batch, target, stream); });
  }

 private:
  Lease lease_;
  bool intact_ = true;
};

PyState start(const std::shared_ptr<PyEncoder>& self, const py::array& tokens, const py::array& cu_seqlens,
              const OptionalArray& positions, const OptionalArray& token_types, Threads num_threads, uintptr_t stream) {
  const BatchArrays arrays(tokens, cu_seqlens, positions, token_types);
  Lease lease(self, stream);
  run(self->ops(), {num_threads, stream}, [&](Stream on) {
    self->get().start(arrays.batch, lease.session(), on);
    self->get().embed(lease.session(), on);
  });
  return PyState(std::move(lease));
}

bool advance(PyState& state, Threads num_threads) {
  Session& session = state.session();
  const Lease& lease = state.lease();
  bool advanced = false;
  state.set_intact(false);
  run(lease.ops(), {num_threads, lease.stream()},
      [&](Stream stream) { advanced = lease.encoder().advance(session, stream); });
  state.set_intact(true);
  return advanced;
}

PyState join(const std::shared_ptr<PyEncoder>& self, const std::vector<const PyState*>& states) {
  if (states.empty()) throw InvalidInputError("states: got an empty list, expected at least one state");
  for (size_t i = 0; i < states.size(); ++i) {
    if (states[i] == nullptr) {
      throw InvalidInputError("states[" + std::to_string(i) + "]: got None, expected an EncoderState");
    }
  }
  const uintptr_t stream = states.front()->lease().stream();
  std::vector<const Session*> parts;
  for (const PyState* state : states) {
    if (&state->lease().owner() != self.get() || state->lease().stream() != stream) {
      throw InvalidInputError("states: got states of different encoders or streams, expected states of one");
    }
    parts.push_back(&state->session());
  }
  Lease lease(self, stream);
  run(self->ops(), {1, stream}, [&](Stream on) { self->get().join(parts, lease.session(), on); });
  return PyState(std::move(lease));
}

py::object state_hidden(const PyState& state, const py::object& out, Threads num_threads) {
  const Ops& ops = state.lease().ops();
  const DType dtype = out.is_none() ? ops.sum_dtype : output_dtype(out, ops);
  const int64_t rows = state.session().progress().num_tokens(), h = state.lease().owner().hidden_size();
  return state.produce(num_threads, out, dtype, rows, h,
                       [&](const Encoder& encoder, Session& session, Matrix target, Stream stream) {
                         if (dtype != ops.dtype) return encoder.pool(session, Pooling::kEach, target, stream);
                         ops.copy(target.data, encoder.hidden_states(session).data, rows * h * size_of(dtype), stream);
                       });
}

py::object state_pooler(const PyState& state, const py::object& out, Threads num_threads) {
  const int64_t rows = state.session().progress().num_sequences();
  return state.produce(num_threads, out, state.lease().ops().sum_dtype, rows, state.lease().owner().hidden_size(),
                       [](const Encoder& encoder, Session& session, Matrix target, Stream stream) {
                         encoder.pooler(session, target, stream);
                       });
}

py::object state_mlm(const PyState& state, const py::array& rows, const py::object& out, Threads num_threads) {
  const int32_t* data = as_ints("rows", rows);
  const std::vector<int32_t> chosen(data, data + rows.shape(0));
  const int64_t tokens = state.session().progress().num_tokens();
  for (const int32_t row : chosen) {
    if (row >= 0 && row < tokens) continue;
    throw InvalidInputError("rows: got " + std::to_string(row) + ", expected integers in 0.." +
                            std::to_string(tokens - 1));
  }
  return state.produce(num_threads, out, state.lease().ops().sum_dtype, rows.shape(0),
                       state.lease().encoder().config().vocab_size,
                       [&](const Encoder& encoder, Session& session, Matrix target, Stream stream) {
                         encoder.mlm_logits(chosen, target, session, stream);
                       });
}

py::object state_sop(const PyState& state, const py::object& out, Threads num_threads) {
  return state.produce(num_threads, out, state.lease().ops().sum_dtype, state.session().progress().num_sequences(), 2,
                       [](const Encoder& encoder, Session& session, Matrix target, Stream stream) {
                         encoder.sop_logits(session, target, stream);
                       });
}

void register_state(py::module_& m) {
  const auto none = py::none();
  py::class_<PyState>(m, "EncoderState", "A ragged batch between two iterations; each sequence has its own depth.")
      .def("advance", &advance, py::arg("num_threads") = none,
           "One iteration for every sequence that is not done; False if all were.")
      .def("hidden_states", &state_hidden, py::kw_only(), py::arg("out") = none, py::arg("num_threads") = none,
           "[T, H], copied: NumPy, or into `out` on the device, of the stored dtype or float32.")
      .def("pooler", &state_pooler, py::kw_only(), py::arg("out") = none, py::arg("num_threads") = none,
           "[B, H], the pooler of each sequence's first token; zeros for an empty sequence.")
      .def("mlm_logits", &state_mlm, py::arg("rows"), py::kw_only(), py::arg("out") = none,
           py::arg("num_threads") = none, "[n, V] at chosen rows of the batch, int32 [n].")
      .def("sop_logits", &state_sop, py::kw_only(), py::arg("out") = none, py::arg("num_threads") = none,
           "[B, 2]: in order, swapped; zeros for an empty sequence.")
      .def_property_readonly("depths", [](const PyState& s) { return s.session().progress().depths; })
      .def_property_readonly("cu_seqlens", [](const PyState& s) { return s.session().progress().cu_seqlens; });
}

}  // namespace

void register_encoder(py::module_& m) {
  register_state(m);
  const auto none = py::none();
  py::class_<PyEncoder, std::shared_ptr<PyEncoder>>(m, "Encoder", "The model over one weight buffer; thread-safe.")
      .def(py::init([](std::shared_ptr<WeightBuffer> weights) {
             if (weights == nullptr) throw InvalidInputError("weights: got None, expected a WeightBuffer");
             return std::make_shared<PyEncoder>(std::move(weights));
           }),
           py::arg("weights"))
      .def("encode", &encode, py::arg("tokens"), py::arg("cu_seqlens"), py::arg("positions") = none,
           py::arg("token_types") = none, py::kw_only(), py::arg("pooling") = none, py::arg("normalize") = false,
           py::arg("out") = none, py::arg("num_threads") = none, py::arg("stream") = 0,
           "[B, H] pooled, or [T, H] without pooling; float32, or float64 for a float64 model. Into `out` on the "
           "device, without waiting for it, or as NumPy.")
      .def("start", &start, py::arg("tokens"), py::arg("cu_seqlens"), py::arg("positions") = none,
           py::arg("token_types") = none, py::kw_only(), py::arg("num_threads") = none, py::arg("stream") = 0,
           "The batch at depth 0, to be advanced one iteration at a time, all of it on one stream.")
      .def("join", &join, py::arg("states"), "One batch of several, each sequence at its depth.");
}

}  // namespace albert_fast::bindings

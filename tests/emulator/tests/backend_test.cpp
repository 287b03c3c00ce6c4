// The engine over the CUDA backend, seen from CUDA's side: what may be captured in a graph, which stream works, and
// when weights are there.
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "emulator/runtime/tests/support.h"
#include "engine/encoder.h"
#include "filled_weights.h"
#include "kernels/backend.h"
#include "kernels/errors.h"
#include "text.h"

extern "C" const albert_fast::Backend* albert_fast_backend();

namespace albert_fast::testing {
namespace {

constexpr DType kStored[] = {DType::kBFloat16, DType::kFloat16, DType::kFloat32};
const std::vector<int32_t> kLengths = {5, 0, 33, 1};

/// Two groups, so that iterations differ in their weights.
const ModelConfig kConfig = {.vocab_size = 50,
                             .embedding_size = 40,
                             .hidden_size = 128,
                             .num_hidden_layers = 4,
                             .num_hidden_groups = 2,
                             .inner_group_num = 1,
                             .num_attention_heads = 2,
                             .intermediate_size = 264,
                             .max_position_embeddings = 80,
                             .type_vocab_size = 2,
                             .hidden_act = "gelu_new",
                             .layer_norm_eps = 1e-12};

const Ops& ops_of(DType dtype) { return *albert_fast_backend()->find_ops(dtype); }

WeightBuffer random_weights(DType dtype) {
  WeightBuffer weights(WeightLayout(kConfig, {}, WeightForm::kPlain, dtype), ops_of(dtype));
  fill<float>(weights, 7);
  weights.finish(Stream{});
  return weights;
}

/// A stream that nothing but events orders with the default stream.
class OwnStream {
 public:
  OwnStream() { CHECK_CUDA(cudaStreamCreateWithFlags(&handle_, cudaStreamNonBlocking)); }
  ~OwnStream() { CHECK_CUDA(cudaStreamDestroy(handle_)); }
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;

  operator Stream() const { return {handle_}; }
  cudaStream_t handle() const { return handle_; }

 private:
  cudaStream_t handle_ = nullptr;
};

/// One session's batches of kLengths on one stream, and room for their features.
class Pass {
 public:
  Pass(const Encoder& encoder, Stream stream)
      : encoder_(encoder), stream_(stream), session_(encoder.ops()), features_(encoder.ops()) {
    features_.reserve(count() * sizeof(float));
  }

  void start(const Text& text) { encoder_.start(text.batch(), session_, stream_); }

  /// Everything after `start`: nothing here may allocate or wait.
  void run() {
    encoder_.embed(session_, stream_);
    while (encoder_.advance(session_, stream_)) {
    }
    encoder_.pool(session_, Pooling::kMean, {features_.data(), rows(), cols(), cols()}, stream_);
  }

  std::vector<float> features() const {
    std::vector<float> host(count());
    encoder_.ops().download(host.data(), features_.data(), host.size() * sizeof(float), stream_);
    return host;
  }

 private:
  int64_t rows() const { return static_cast<int64_t>(kLengths.size()); }
  int64_t cols() const { return encoder_.config().hidden_size; }
  size_t count() const { return static_cast<size_t>(rows() * cols()); }

  const Encoder& encoder_;
  Stream stream_;
  Session session_;
  DeviceBuffer features_;
};

std::vector<float> eager_features(const Encoder& encoder, const Text& text) {
  Pass pass(encoder, Stream{});
  pass.start(text);
  pass.run();
  return pass.features();
}

/// What `work` queues on a stream, to be launched as often as wanted.
class Graph {
 public:
  Graph(const OwnStream& stream, const std::function<void()>& work) {
    CHECK_CUDA(cudaStreamBeginCapture(stream.handle(), cudaStreamCaptureModeGlobal));
    work();
    cudaGraph_t graph = nullptr;
    CHECK_CUDA(cudaStreamEndCapture(stream.handle(), &graph));
    CHECK_CUDA(cudaGraphInstantiate(&exec_, graph, 0));
    CHECK_CUDA(cudaGraphDestroy(graph));
  }
  ~Graph() { CHECK_CUDA(cudaGraphExecDestroy(exec_)); }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void launch(const OwnStream& stream) { CHECK_CUDA(cudaGraphLaunch(exec_, stream.handle())); }

 private:
  cudaGraphExec_t exec_ = nullptr;
};

}  // namespace

// A capture in global mode is spoilt by every allocation, every wait and all work on the default stream.
TEST_CASE("a graph of one forward pass serves every batch of its lengths") {
  for (const DType dtype : kStored) {
    CAPTURE(name_of(dtype));
    const FreshDevice fresh;
    const WeightBuffer weights = random_weights(dtype);
    const Encoder encoder(weights);
    const OwnStream stream;
    Pass pass(encoder, stream);
    pass.start(Text(kLengths, 1));
    Graph graph(stream, [&] { pass.run(); });
    for (const uint64_t seed : {2, 3, 1}) {
      emulator_set_seed(seed);
      const Text text(kLengths, seed);
      pass.start(text);
      graph.launch(stream);
      CHECK(pass.features() == eager_features(encoder, text));
    }
  }
}

TEST_CASE("a new batch cannot be started inside a capture, and the capture goes on") {
  const FreshDevice fresh;
  const WeightBuffer weights = random_weights(DType::kBFloat16);
  const Encoder encoder(weights);
  const OwnStream stream;
  Pass pass(encoder, stream);
  const Text text(kLengths, 1);
  pass.start(text);
  Graph graph(stream, [&] {
    CHECK_THROWS_WITH_AS(pass.start(text), "upload: got a stream that is being captured, expected one that is not",
                         InvalidInputError);
    pass.run();
  });
  graph.launch(stream);
  CHECK(pass.features() == eager_features(encoder, text));
}

TEST_CASE("all work stays on the caller's stream") {
  const FreshDevice fresh;
  const WeightBuffer weights = random_weights(DType::kBFloat16);
  const Encoder encoder(weights);
  const Text text(kLengths, 1);
  const std::vector<float> expected = eager_features(encoder, text);
  for (uint64_t seed = 0; seed < 8; ++seed) {  // what another stream did would sometimes come too late
    emulator_set_seed(seed);
    const OwnStream stream;
    Pass pass(encoder, stream);
    take_counters();
    pass.start(text);
    pass.run();
    CHECK_CUDA(cudaStreamSynchronize(nullptr));  // runs what is on the default stream, and nothing else
    CHECK(take_counters() == "[]");
    CHECK(pass.features() == expected);
    CHECK(take_counters() != "[]");
  }
}

TEST_CASE("passes on two streams do not disturb each other") {
  const FreshDevice fresh;
  const WeightBuffer weights = random_weights(DType::kBFloat16);
  const Encoder encoder(weights);
  const Text texts[] = {Text(kLengths, 1), Text(kLengths, 2)};
  const std::vector<float> expected[] = {eager_features(encoder, texts[0]), eager_features(encoder, texts[1])};
  for (uint64_t seed = 0; seed < 4; ++seed) {
    emulator_set_seed(seed);
    const OwnStream streams[2];
    Pass passes[] = {Pass(encoder, streams[0]), Pass(encoder, streams[1])};
    for (int i : {0, 1}) passes[i].start(texts[i]);
    for (int i : {0, 1}) passes[i].run();
    for (int i : {1, 0}) CHECK(passes[i].features() == expected[i]);
  }
}

TEST_CASE("weights are there for every stream once finish has returned, and not before") {
  const FreshDevice fresh;
  const OwnStream stream;
  const Text text(kLengths, 1);
  const WeightBuffer finished = random_weights(DType::kFloat32);
  const std::vector<float> expected = eager_features(Encoder(finished), text);
  for (uint64_t seed = 0; seed < 4; ++seed) {
    emulator_set_seed(seed);
    WeightBuffer weights(WeightLayout(kConfig, {}, WeightForm::kPlain, DType::kFloat32), ops_of(DType::kFloat32));
    fill<float>(weights, 7);
    const Encoder encoder(weights);
    Pass pass(encoder, stream);
    pass.start(text);
    pass.run();
    CHECK(pass.features() != expected);
    weights.finish(Stream{});
    pass.start(text);
    pass.run();
    CHECK(pass.features() == expected);
  }
}

TEST_CASE("order makes one stream wait for another") {
  const FreshDevice fresh;
  const Ops& ops = ops_of(DType::kFloat32);
  const OwnStream first, then;
  const std::vector<float> values = {1, 2, 3};
  DeviceBuffer device(ops);
  device.reserve(values.size() * sizeof(float));
  std::vector<float> back(values.size());
  for (uint64_t seed = 0; seed < 4; ++seed) {
    emulator_set_seed(seed);
    CHECK_CUDA(cudaMemset(device.data(), 0, device.bytes()));
    ops.upload(device.data(), values.data(), device.bytes(), first);
    albert_fast_backend()->order(first, then);
    ops.download(back.data(), device.data(), device.bytes(), then);
    CHECK(back == values);
  }
}

// 21 MB go through a ring of 16; 200 pieces through one of 64. Each slot is used again only once it has been sent.
TEST_CASE("an upload takes its bytes with it, whatever its size") {
  const FreshDevice fresh;
  const Ops& ops = ops_of(DType::kFloat32);
  const OwnStream stream;
  for (const auto& [pieces, bytes] : {std::pair<size_t, size_t>{1, (21 << 20) + 5}, {200, 1000}}) {
    DeviceBuffer device(ops);
    device.reserve(pieces * bytes);
    std::vector<unsigned char> host(bytes), expected;
    for (size_t piece = 0; piece < pieces; ++piece) {
      for (size_t i = 0; i < bytes; ++i) host[i] = static_cast<unsigned char>((i * 131 + piece * 7) % 251);
      expected.insert(expected.end(), host.begin(), host.end());
      ops.upload(device.data() + piece * bytes, host.data(), bytes, stream);
      std::memset(host.data(), 0xff, bytes);
    }
    std::vector<unsigned char> back(pieces * bytes);
    ops.download(back.data(), device.data(), back.size(), stream);
    CHECK(back == expected);
  }
}

}  // namespace albert_fast::testing

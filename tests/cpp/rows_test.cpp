// The ops that work row by row, against the straightforward loops: embed, layer_norm, pool, l2_normalize.
#include "attention_call.h"
#include "reference.h"
#include "support.h"

namespace albert_fast::testing {
namespace {

struct Shape {
  int64_t rows, cols, gap;
};
// Widths around every vector and four of them; rows around the tasks of 16 and 64.
const Shape kShapes[] = {{1, 1, 0},    {1, 7, 3},    {5, 31, 0},    {6, 33, 1},  {7, 64, 0},
                         {13, 128, 5}, {65, 257, 0}, {17, 1000, 2}, {9, 4096, 0}};
constexpr double kEps = 1e-12;

/// run(ops, shape, rng, out) computes into `out` and returns (exact, straightforward) of the same inputs.
template <typename T, typename Run>
void check_rows(const Run& run) {
  for (const Shape& shape : kShapes) {
    for (const Ops* ops : backends<T>()) {
      CAPTURE(std::string(ops->name));
      CAPTURE(shape.rows);
      CAPTURE(shape.cols);
      ErrorBound<T> bound;
      for (int seed = 0; seed < kSeeds<T>; ++seed) {
        Rng rng(seed);
        const auto [out, exact, plain_loop] = run(*ops, shape, rng);
        CHECK(out.surroundings_intact());
        bound.add(rel_l2(out, exact), rel_l2(as_tensor(plain_loop, out.rows(), out.cols()), exact));
      }
      bound.check();
    }
  }
}

template <typename T>
struct Result {
  Tensor<T> out;
  std::vector<Exact<T>> exact;
  std::vector<T> plain_loop;
};

template <typename R, typename T>
std::vector<R> embed(const std::vector<int32_t>& rows, const Tensor<T>& word, const Tensor<T>& position,
                     const Tensor<T>& type, const Tensor<T>& gamma, const Tensor<T>& beta) {
  std::vector<R> out;
  for (const int32_t r : rows) {
    const size_t begin = out.size();
    for (int64_t j = 0; j < word.cols(); ++j) {
      out.push_back(R(word.at(r % 11, j)) + R(type.at(r % 2, j)) + R(position.at(r % 5, j)));
    }
    normalize_row(out.data() + begin, gamma, beta, kEps);
  }
  return out;
}

template <typename T>
Result<T> run_embed(const Ops& ops, const Shape& s, Rng& rng) {
  const Tensor<T> word = Tensor<T>(11, s.cols, s.gap).fill(rng), position = Tensor<T>(5, s.cols).fill(rng),
                  type = Tensor<T>(2, s.cols).fill(rng), gamma = Tensor<T>(1, s.cols).fill(rng),
                  beta = Tensor<T>(1, s.cols).fill(rng);
  std::vector<int32_t> rows, tokens, positions, types;
  for (int64_t t = 0; t < s.rows; ++t) {
    rows.push_back(static_cast<int32_t>(rng() % 1000));
    tokens.push_back(rows.back() % 11);
    positions.push_back(rows.back() % 5);
    types.push_back(rows.back() % 2);
  }
  Tensor<T> out(s.rows, s.cols, s.gap);
  Threads threads(2);
  ops.embed({tokens.data(), positions.data(), types.data(), word.view(), position.view(), type.view(), gamma.data(),
             beta.data(), kEps, out.view()},
            threads);
  return {out, embed<Exact<T>>(rows, word, position, type, gamma, beta),
          embed<T>(rows, word, position, type, gamma, beta)};
}

template <typename T>
Result<T> run_layer_norm(const Ops& ops, const Shape& s, Rng& rng) {
  const Tensor<T> x = Tensor<T>(s.rows, s.cols, s.gap).fill(rng, 1, 3), gamma = Tensor<T>(1, s.cols).fill(rng),
                  beta = Tensor<T>(1, s.cols).fill(rng);
  Tensor<T> out(s.rows, s.cols, s.gap), in_place = x;
  Threads threads(2);
  ops.layer_norm({x.view(), ops.dtype, gamma.data(), beta.data(), kEps, out.view()}, threads);
  ops.layer_norm({in_place.view(), ops.dtype, gamma.data(), beta.data(), kEps, in_place.view()}, threads);
  CHECK(identical(out, in_place));
  return {out, layer_norm<Exact<T>>(x, gamma, beta, kEps), layer_norm<T>(x, gamma, beta, kEps)};
}

template <typename R, typename T>
std::vector<R> l2_normalize(const Tensor<T>& x) {
  std::vector<R> out;
  for (int64_t i = 0; i < x.rows(); ++i) {
    R squares = 0;
    for (int64_t j = 0; j < x.cols(); ++j) squares += R(x.at(i, j)) * R(x.at(i, j));
    for (int64_t j = 0; j < x.cols(); ++j) out.push_back(R(x.at(i, j)) / std::max(std::sqrt(squares), R(1e-12)));
  }
  return out;
}

template <typename T>
Result<T> run_l2_normalize(const Ops& ops, const Shape& s, Rng& rng) {
  const Tensor<T> x = Tensor<T>(s.rows, s.cols, s.gap).fill(rng);
  Tensor<T> out = x;
  Threads threads(2);
  ops.l2_normalize({out.view()}, threads);
  return {out, l2_normalize<Exact<T>>(x), l2_normalize<T>(x)};
}

template <typename R, typename T>
std::vector<R> pool(const Tensor<T>& x, const std::vector<int32_t>& cu_seqlens, Pooling pooling) {
  std::vector<R> out;
  for (size_t b = 0; b + 1 < cu_seqlens.size(); ++b) {
    const int32_t begin = cu_seqlens[b];
    const int32_t end = pooling == Pooling::kFirst ? std::min(begin + 1, cu_seqlens[b + 1]) : cu_seqlens[b + 1];
    for (int64_t j = 0; j < x.cols(); ++j) {
      R sum = 0;
      for (int32_t t = begin; t < end; ++t) sum += R(x.at(t, j));
      out.push_back(begin == end ? R(0) : sum / R(end - begin));
    }
  }
  return out;
}

template <typename T>
Result<T> run_pool(const Ops& ops, const Shape& s, Rng& rng, Pooling pooling) {
  const std::vector<int32_t> cu_seqlens = offsets({0, int32_t(s.rows), 1, 31, 0, 33});
  const Tensor<T> x = Tensor<T>(cu_seqlens.back(), s.cols, s.gap).fill(rng, 1, 0.5);
  Tensor<T> out(int64_t(cu_seqlens.size()) - 1, s.cols, s.gap);
  Threads threads(2);
  ops.pool({x.view(), cu_seqlens.data(), pooling, out.view()}, threads);
  Tensor<T> each(x.rows(), x.cols(), s.gap);
  ops.pool({x.view(), cu_seqlens.data(), Pooling::kEach, each.view()}, threads);
  CHECK(identical(each, x));
  return {out, pool<Exact<T>>(x, cu_seqlens, pooling), pool<T>(x, cu_seqlens, pooling)};
}

}  // namespace

TEST_CASE_TEMPLATE("embed is as right as the straightforward loop", T, float, double) { check_rows<T>(run_embed<T>); }

TEST_CASE_TEMPLATE("layer_norm is as right as the straightforward loop", T, float, double) {
  check_rows<T>(run_layer_norm<T>);
}

TEST_CASE_TEMPLATE("l2_normalize is as right as the straightforward loop", T, float, double) {
  check_rows<T>(run_l2_normalize<T>);
}

TEST_CASE_TEMPLATE("pool is as right as the straightforward loop", T, float, double) {
  for (const Pooling pooling : {Pooling::kMean, Pooling::kFirst}) {
    check_rows<T>([pooling](const Ops& ops, const Shape& s, Rng& rng) { return run_pool<T>(ops, s, rng, pooling); });
  }
}

TEST_CASE("layer_norm of a constant row is beta, however large the constant") {
  for (const Ops* ops : backends<float>()) {
    Rng rng(0);
    const Tensor<float> gamma = Tensor<float>(1, 257).fill(rng), beta = Tensor<float>(1, 257).fill(rng);
    Tensor<float> x(2, 257), y(2, 257);
    for (int64_t j = 0; j < 257; ++j) x.at(0, j) = 0, x.at(1, j) = 4096;
    Threads threads(1);
    ops->layer_norm({x.view(), ops->dtype, gamma.data(), beta.data(), kEps, y.view()}, threads);
    for (int64_t j = 0; j < 257; ++j) {
      CHECK(y.at(0, j) == beta.at(0, j));
      CHECK(y.at(1, j) == beta.at(0, j));
    }
  }
}

TEST_CASE_TEMPLATE("gather takes rows in any order, and zeros where there is none", T, float, double) {
  for (const Ops* ops : backends<T>()) {
    Rng rng(0);
    const Tensor<T> x = Tensor<T>(40, 37, 3).fill(rng);
    const std::vector<int32_t> rows = {39, -1, 0, 7, 7, -1, 12, 3, 1, 2, 4, 5, 6, 8, 9, 10, 11, 38};
    Tensor<T> out(int64_t(rows.size()), 37, 2);
    Threads threads(2);
    ops->gather({x.view(), rows.data(), out.view()}, threads);
    CHECK(out.surroundings_intact());
    for (int64_t i = 0; i < out.rows(); ++i) {
      for (int64_t j = 0; j < 37; ++j) CHECK(out.at(i, j) == (rows[i] < 0 ? T(0) : x.at(rows[i], j)));
    }
  }
}

TEST_CASE("l2_normalize leaves a row of zeros") {
  for (const Ops* ops : backends<float>()) {
    Tensor<float> x(1, 19);
    for (int64_t j = 0; j < 19; ++j) x.at(0, j) = 0;
    Threads threads(1);
    ops->l2_normalize({x.view()}, threads);
    for (int64_t j = 0; j < 19; ++j) CHECK(x.at(0, j) == 0);
  }
}

}  // namespace albert_fast::testing

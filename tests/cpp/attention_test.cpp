// attention against the straightforward loop: ragged batches, every kind of head.
#include "attention_call.h"
#include "reference.h"
#include "support.h"

namespace albert_fast::testing {
namespace {

struct Shape {
  std::vector<int32_t> lengths;
  int64_t heads, head_dim, gap;
};

// Lengths around the block of 64 keys, head sizes below, at and above the panels and the depth blocks.
const Shape kShapes[] = {
    {{0, 1, 63, 64, 65, 130}, 2, 20, 0},
    {{1, 0, 65, 7}, 3, 1, 5},
    {{63, 13}, 2, 8, 0},
    {{130, 64, 0}, 2, 64, 3},
    {{65, 12}, 1, 128, 0},
    {{33, 65}, 1, 300, 1},
};

template <typename T>
void check_shape(const Shape& shape) {
  const std::vector<const Ops*> tables = backends<T>();
  const std::vector<int32_t> cu_seqlens = offsets(shape.lengths);
  const int64_t rows = cu_seqlens.back(), hidden = shape.heads * shape.head_dim;
  std::vector<ErrorBound<T>> bounds(tables.size());
  for (int seed = 0; seed < kSeeds<T>; ++seed) {
    Rng rng(seed);
    const Tensor<T> qkv = random_qkv<T>(rng, rows, hidden, shape.gap);
    const auto exact = attention<Exact<T>>(qkv, cu_seqlens, shape.heads, shape.head_dim);
    const auto plain_loop = attention<T>(qkv, cu_seqlens, shape.heads, shape.head_dim);
    const double straightforward = rel_l2(as_tensor(plain_loop, rows, hidden), exact);
    for (size_t i = 0; i < tables.size(); ++i) {
      Tensor<T> out(rows, hidden, shape.gap);
      run_attention<T>(*tables[i], qkv.view(), shape.lengths, shape.heads, shape.head_dim, out.view(), 2);
      CHECK(out.surroundings_intact());
      bounds[i].add(rel_l2(out, exact), straightforward);
    }
  }
  for (size_t i = 0; i < tables.size(); ++i) {
    CAPTURE(std::string(tables[i]->name));
    bounds[i].check();
  }
}

}  // namespace

TEST_CASE_TEMPLATE("attention is as right as the straightforward loop", T, float, double) {
  for (const Shape& shape : kShapes) {
    CAPTURE(shape.head_dim);
    check_shape<T>(shape);
  }
}

TEST_CASE("attention of one token is its value") {
  for (const Ops* ops : backends<float>()) {
    Rng rng(0);
    const Tensor<float> qkv = random_qkv<float>(rng, 3, 40, 0);
    Tensor<float> out(3, 40);
    run_attention<float>(*ops, qkv.view(), {1, 1, 1}, 2, 20, out.view(), 1);
    for (int64_t i = 0; i < 3; ++i) {
      for (int64_t j = 0; j < 40; ++j) CHECK(out.at(i, j) == qkv.at(i, 80 + j));
    }
  }
}

TEST_CASE("attention stays finite where exp of a score would overflow or vanish") {
  for (const Ops* ops : backends<float>()) {
    CAPTURE(std::string(ops->name));
    Rng rng(0);
    Tensor<float> qkv = Tensor<float>(130, 3 * 16).fill(rng, 40);
    for (int64_t i = 0; i < 130; ++i) {
      for (int64_t j = 0; j < 48; ++j) qkv.at(i, j) = std::round(qkv.at(i, j));  // scores without rounding
    }
    Tensor<float> out(130, 16);
    run_attention<float>(*ops, qkv.view(), {130}, 1, 16, out.view(), 1);
    const auto exact = attention<double>(qkv, {0, 130}, 1, 16);
    const auto plain_loop = attention<float>(qkv, {0, 130}, 1, 16);
    ErrorBound<float> bound;
    bound.add(rel_l2(out, exact), rel_l2(as_tensor(plain_loop, 130, 16), exact));
    bound.check();
  }
}

TEST_CASE("a NaN stays in its own sequence") {
  for (const Ops* ops : backends<float>()) {
    Rng rng(0);
    Tensor<float> qkv = random_qkv<float>(rng, 90, 16, 0);
    Tensor<float> clean(90, 16), spoiled(90, 16);
    run_attention<float>(*ops, qkv.view(), {20, 70}, 1, 16, clean.view(), 1);
    qkv.at(5, 16 + 3) = std::numeric_limits<float>::quiet_NaN();  // a key of the first
    run_attention<float>(*ops, qkv.view(), {20, 70}, 1, 16, spoiled.view(), 1);
    for (int64_t i = 0; i < 20; ++i) CHECK(std::isnan(spoiled.at(i, 0)));
    for (int64_t i = 20; i < 90; ++i) CHECK(std::memcmp(&spoiled.at(i, 0), &clean.at(i, 0), 16 * sizeof(float)) == 0);
  }
}

}  // namespace albert_fast::testing

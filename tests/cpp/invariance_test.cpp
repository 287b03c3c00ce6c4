// Batch invariance: a row, or a sequence, alone gives the bits it gives in a batch, on any number of threads.
#include "attention_call.h"
#include "linear_call.h"
#include "support.h"

namespace albert_fast::testing {
namespace {

template <typename T>
bool same_row(const Tensor<T>& a, int64_t i, const Tensor<T>& b, int64_t j) {
  return std::memcmp(&a.at(i, 0), &b.at(j, 0), a.cols() * sizeof(T)) == 0;
}

/// Every `step`-th row of x alone and behind others, against all rows at once.
template <typename T>
void check_linear(const Ops& ops, int64_t t, int64_t n, int64_t k, int64_t step) {
  Rng rng(0);
  const Tensor<T> x = Tensor<T>(t, k).fill(rng), weight = Tensor<T>(n, k).fill(rng), bias = Tensor<T>(1, n).fill(rng);
  const Guarded<T> packed = pack(ops, weight);
  const Weight w{packed.data(), n, k, WeightForm::kPacked};
  const LinearCall<T> call{ops, weight, &bias, Activation::kGeluTanh, nullptr};
  Tensor<T> batch(t, n);
  call.run(w, x.view(), batch.view(), 1);
  for (const int threads : {2, 3}) {
    Tensor<T> again(t, n);
    call.run(w, x.view(), again.view(), threads);
    CHECK(identical(again, batch));
  }
  for (int64_t i = 0; i < t; i += step) {
    Tensor<T> alone(1, n), behind(std::min<int64_t>(i + 1, 8), n);
    call.run(w, x.view(i, 1), alone.view(), 1 + i % 3);
    CHECK(same_row(alone, 0, batch, i));
    call.run(w, x.view(i + 1 - behind.rows(), behind.rows()), behind.view(), 1 + i % 3);
    CHECK(same_row(behind, behind.rows() - 1, batch, i));
  }
}

template <typename T>
void check_attention(const Ops& ops, int64_t head_dim) {
  const std::vector<int32_t> lengths{1, 65, 0, 130, 7, 64};
  const std::vector<int32_t> cu_seqlens = offsets(lengths);
  const int64_t heads = 2, hidden = heads * head_dim;
  Rng rng(0);
  const Tensor<T> qkv = random_qkv<T>(rng, cu_seqlens.back(), hidden, 0);
  Tensor<T> batch(qkv.rows(), hidden);
  run_attention<T>(ops, qkv.view(), lengths, heads, head_dim, batch.view(), 1);
  for (const int threads : {2, 3}) {
    Tensor<T> again(qkv.rows(), hidden);
    run_attention<T>(ops, qkv.view(), lengths, heads, head_dim, again.view(), threads);
    CHECK(identical(again, batch));
  }
  for (size_t b = 0; b < lengths.size(); ++b) {
    Tensor<T> alone(lengths[b], hidden);
    run_attention<T>(ops, qkv.view(cu_seqlens[b], lengths[b]), {lengths[b]}, heads, head_dim, alone.view(), 1);
    for (int64_t i = 0; i < lengths[b]; ++i) CHECK(same_row(alone, i, batch, cu_seqlens[b] + i));
  }
}

template <typename T>
void check_layer_norm(const Ops& ops, int64_t cols) {
  constexpr int64_t kRows = 70;
  Rng rng(0);
  const Tensor<T> x = Tensor<T>(kRows, cols).fill(rng), gamma = Tensor<T>(1, cols).fill(rng),
                  beta = Tensor<T>(1, cols).fill(rng);
  Threads one(1);
  Tensor<T> batch(kRows, cols);
  ops.layer_norm({x.view(), ops.dtype, gamma.data(), beta.data(), 1e-12, batch.view()}, one);
  for (const int count : {2, 3}) {
    Threads threads(count);
    Tensor<T> again(kRows, cols);
    ops.layer_norm({x.view(), ops.dtype, gamma.data(), beta.data(), 1e-12, again.view()}, threads);
    CHECK(identical(again, batch));
  }
  for (int64_t i = 0; i < kRows; ++i) {
    Tensor<T> alone(1, cols);
    ops.layer_norm({x.view(i, 1), ops.dtype, gamma.data(), beta.data(), 1e-12, alone.view()}, one);
    CHECK(same_row(alone, 0, batch, i));
  }
}

}  // namespace

TEST_CASE_TEMPLATE("each row of linear is the same alone", T, float, double) {
  for (const Ops* ops : backends<T>()) {
    CAPTURE(std::string(ops->name));
    check_linear<T>(*ops, 207, 33, 257, 1);
    check_linear<T>(*ops, 13, 300, 700, 1);
    check_linear<T>(*ops, 400, 3, 16384, 97);  // more rows than one pass over the weights takes
  }
}

TEST_CASE_TEMPLATE("each sequence of attention is the same alone", T, float, double) {
  for (const Ops* ops : backends<T>()) {
    CAPTURE(std::string(ops->name));
    for (const int64_t head_dim : {1, 20, 64, 130}) check_attention<T>(*ops, head_dim);
  }
}

TEST_CASE_TEMPLATE("each row of layer_norm is the same alone", T, float, double) {
  for (const Ops* ops : backends<T>()) {
    CAPTURE(std::string(ops->name));
    for (const int64_t cols : {1, 33, 300}) check_layer_norm<T>(*ops, cols);
  }
}

}  // namespace albert_fast::testing

// Every table of this machine against portable_f64, element by element, with tiles of every number of rows. The
// bounds are those of the sums the kernels document (Higham 2002, "Accuracy and Stability of Numerical Algorithms",
// section 3.1): a chain of n roundings errs by at most gamma(n) times the sum of magnitudes.
#include "attention_call.h"
#include "linear_call.h"
#include "reference.h"
#include "support.h"

namespace albert_fast::testing {
namespace {

/// Twice the rows of the largest tile, and one more: with every remainder of every tile.
constexpr int64_t kMostRows = 25;
constexpr double kU = kRoundoff<float>;
/// Products of errors, which the bounds below leave out.
constexpr double kSecondOrder = 1.05;

double gamma(double n) { return n * kU / (1 - n * kU); }
int64_t blocks(int64_t n, int64_t block) { return (n + block - 1) / block; }

Tensor<double> widened(const Tensor<float>& x) {
  Tensor<double> wide(x.rows(), x.cols());
  for (int64_t i = 0; i < x.rows(); ++i) {
    for (int64_t j = 0; j < x.cols(); ++j) wide.at(i, j) = x.at(i, j);
  }
  return wide;
}

Tensor<double> magnitudes(Tensor<double> x) {
  for (int64_t i = 0; i < x.rows(); ++i) {
    for (int64_t j = 0; j < x.cols(); ++j) x.at(i, j) = std::fabs(x.at(i, j));
  }
  return x;
}

/// |y - expected| <= bound(i, j), which no NaN is.
template <typename Bound>
void check_elements(const Tensor<float>& y, const Tensor<double>& expected, const Bound& bound) {
  int64_t wrong = 0;
  for (int64_t i = 0; i < y.rows(); ++i) {
    for (int64_t j = 0; j < y.cols(); ++j) wrong += !(std::fabs(y.at(i, j) - expected.at(i, j)) <= bound(i, j));
  }
  CHECK(wrong == 0);
  CHECK(y.surroundings_intact());
}

/// Relative error of the activation itself, in roundoffs: the bounds that cpu/primitives/math.h states.
double activation_roundoffs(Activation activation, double z) {
  if (activation == Activation::kGeluTanh) return 4 * (1 + std::fabs(1.5957691216 * z * (1 + 0.044715 * z * z)));
  if (activation == Activation::kGeluErf) return 8 * (1 + z * z / 2);
  return activation == Activation::kTanh ? 1 : 0;
}

struct LinearProblem {
  Tensor<float> x, weight, bias, residual;

  LinearProblem(int64_t t, int64_t n, int64_t k, Rng& rng) : x(t, k, 3), weight(n, k), bias(1, n), residual(t, n, 1) {
    x.fill(rng);
    weight.fill(rng, 1 / std::sqrt(double(k)));
    bias.fill(rng);
    residual.fill(rng);
  }
};

void check_linear(const LinearProblem& p, Activation activation, bool with_residual) {
  const Ops& exact = cpu::find_ops("", DType::kFloat64);
  const int64_t t = p.x.rows(), n = p.weight.rows(), k = p.x.cols();
  const Tensor<double> x = widened(p.x), weight = widened(p.weight), bias = widened(p.bias),
                       residual = widened(p.residual), abs_x = magnitudes(x), abs_weight = magnitudes(weight),
                       abs_bias = magnitudes(bias);
  Tensor<double> y(t, n), sums(t, n), sizes(t, n);
  LinearCall<double>{exact, weight, &bias, activation, with_residual ? &residual : nullptr}.run(WeightForm::kPacked,
                                                                                                x.view(), y, 1);
  LinearCall<double>{exact, weight, &bias, Activation::kNone, nullptr}.run(WeightForm::kPacked, x.view(), sums, 1);
  LinearCall<double>{exact, abs_weight, &abs_bias, Activation::kNone, nullptr}.run(WeightForm::kPacked, abs_x.view(),
                                                                                   sizes, 1);

  // A chain of 256 multiply-adds, one addition per chain, the bias, and a rounding more where there is no multiply-add.
  const double roundings = std::min<int64_t>(k, 256) + blocks(k, 256) + 2;
  const auto bound = [&](int64_t i, int64_t j) {
    constexpr double kSteepest = 1.13;  // of both GELUs, at about sqrt(2)
    const double activated = activate<double>(activation, sums.at(i, j));
    return kSecondOrder * (kSteepest * gamma(roundings) * sizes.at(i, j) +
                           kU * activation_roundoffs(activation, sums.at(i, j)) * std::fabs(activated) +
                           kU * std::fabs(y.at(i, j)) + 1e-36);
  };
  for (const Ops* ops : backends<float>()) {
    CAPTURE(std::string(ops->name));
    for (const WeightForm form : {WeightForm::kPacked, WeightForm::kPlain}) {
      Tensor<float> ours(t, n, 2);
      LinearCall<float>{*ops, p.weight, &p.bias, activation, with_residual ? &p.residual : nullptr}.run(
          form, p.x.view(), ours, 2);
      check_elements(ours, y, bound);
    }
  }
}

/// Queries, keys and values of `lengths`; columns from `begin` on as magnitudes.
Tensor<double> with_magnitudes_from(Tensor<double> qkv, int64_t begin) {
  for (int64_t i = 0; i < qkv.rows(); ++i) {
    for (int64_t j = begin; j < qkv.cols(); ++j) qkv.at(i, j) = std::fabs(qkv.at(i, j));
  }
  return qkv;
}

/// The largest sum |q| |k| / sqrt(D) over the keys [begin, end) of query t and the head at column `head`.
double largest_score(const Tensor<double>& qkv, int64_t t, int64_t begin, int64_t end, int64_t head, int64_t d) {
  const int64_t hidden = qkv.cols() / 3;
  double largest = 0;
  for (int64_t key = begin; key < end; ++key) {
    double sum = 0;
    for (int64_t j = head; j < head + d; ++j) sum += std::fabs(qkv.at(t, j) * qkv.at(key, hidden + j));
    largest = std::max(largest, sum / std::sqrt(double(d)));
  }
  return largest;
}

void check_attention(const std::vector<int32_t>& lengths, int64_t heads, int64_t d) {
  Rng rng(0);
  const std::vector<int32_t> starts = offsets(lengths);
  const int64_t rows = starts.back(), hidden = heads * d;
  const Tensor<float> narrow = random_qkv<float>(rng, rows, hidden, 3);
  const Tensor<double> qkv = widened(narrow), with_sizes = with_magnitudes_from(qkv, 2 * hidden);
  const Ops& exact = cpu::find_ops("", DType::kFloat64);
  Tensor<double> out(rows, hidden), sizes(rows, hidden), relative(rows, heads);
  run_attention<double>(exact, qkv.view(), lengths, heads, d, out.view(), 1);
  run_attention<double>(exact, with_sizes.view(), lengths, heads, d, sizes.view(), 1);

  for (size_t b = 0; b < lengths.size(); ++b) {
    for (int64_t t = starts[b]; t < starts[b + 1]; ++t) {
      for (int64_t h = 0; h < heads; ++h) {
        const double score = largest_score(qkv, t, starts[b], starts[b + 1], h * d, d);
        const int64_t key_blocks = blocks(lengths[b], 64);
        // Scores: chains of 64, one addition per chain, the scale, its own rounding, and one for no multiply-add.
        const double of_scores = gamma(std::min<int64_t>(d, 64) + blocks(d, 64) + 3) * score;
        // exp(score - maximum), once and for each later maximum: the difference, exp (2 roundoffs), the product.
        const double of_exp = (key_blocks + 1) * (2 * score + 4) * kU;
        const double of_sums = gamma(64 + key_blocks + 1);
        relative.at(t, h) = 2 * (of_scores + of_exp + of_sums) + kU;  // the sums above and below the line, the division
      }
    }
  }
  for (const Ops* ops : backends<float>()) {
    CAPTURE(std::string(ops->name));
    Tensor<float> ours(rows, hidden, 1);
    run_attention<float>(*ops, narrow.view(), lengths, heads, d, ours.view(), 2);
    check_elements(ours, out,
                   [&](int64_t i, int64_t j) { return kSecondOrder * relative.at(i, j / d) * sizes.at(i, j); });
  }
}

}  // namespace

TEST_CASE("the tables of this machine, the best first") {
  const std::vector<std::string> isas = cpu::available_isas();
#if defined(__aarch64__)
  CHECK(isas == std::vector<std::string>{"neon", "portable"});
#endif
  CHECK(isas.back() == "portable");
  for (const std::string& isa : isas) CHECK(cpu::find_ops(isa, DType::kFloat32).name == "cpu/" + isa);
}

TEST_CASE("each element of linear, with every number of rows in a tile") {
  for (int64_t t = 1; t <= kMostRows; ++t) {
    CAPTURE(t);
    Rng rng(t);
    const LinearProblem p(t, 37, 261, rng);
    for (const Activation activation :
         {Activation::kNone, Activation::kGeluTanh, Activation::kGeluErf, Activation::kTanh}) {
      check_linear(p, activation, false);
      check_linear(p, activation, true);
    }
  }
}

TEST_CASE("each element of attention, with every number of queries in a tile") {
  std::vector<int32_t> lengths{64, 65, 140, 0};
  for (int32_t length = 1; length <= kMostRows; ++length) lengths.push_back(length);
  for (const int64_t d : {1, 20, 64, 70}) {
    CAPTURE(d);
    check_attention(lengths, 2, d);
  }
}

}  // namespace albert_fast::testing

// pack_weight and unpack_weight: there and back, in pieces, inside their bounds.
#include "linear_call.h"
#include "support.h"

namespace albert_fast::testing {
namespace {

const std::pair<int64_t, int64_t> kShapes[] = {{1, 1},    {7, 31},    {31, 256},  {32, 257},
                                               {33, 700}, {257, 255}, {130, 513}, {1000, 3}};

int64_t packed_size(int64_t n, int64_t k) {
  return (n + kPackedRowMultiple - 1) / kPackedRowMultiple * kPackedRowMultiple * k;
}

template <typename T>
void check_pieces(const Ops& ops, int64_t n, int64_t k, int64_t piece) {
  Rng rng(0);
  const Tensor<T> weight = Tensor<T>(n, k, 3).fill(rng);
  Guarded<T> whole(packed_size(n, k)), pieces(packed_size(n, k));
  ops.pack_weight({weight.view(), 0, n, whole.data()}, Stream{});
  for (int64_t first = (n - 1) / piece * piece; first >= 0; first -= piece) {  // last piece first
    ops.pack_weight({weight.view(first, std::min(piece, n - first)), first, n, pieces.data()}, Stream{});
  }
  CHECK(whole.guards_intact());
  CHECK(pieces.guards_intact());
  CHECK(std::memcmp(whole.data(), pieces.data(), whole.size() * sizeof(T)) == 0);
  const int64_t written = std::count_if(whole.data(), whole.data() + whole.size(), [](T x) { return !is_poison(x); });
  CHECK(written == n * k);

  Tensor<T> back(n, k, 2);
  for (int64_t first = 0; first < n; first += piece) {
    ops.unpack_weight({whole.data(), first, n, back.view(first, std::min(piece, n - first))}, Stream{});
  }
  CHECK(identical(back, weight));
  CHECK(back.surroundings_intact());
}

}  // namespace

TEST_CASE_TEMPLATE("a packed weight comes back bit for bit, whatever the pieces", T, float, double) {
  for (const Ops* ops : backends<T>()) {
    CAPTURE(std::string(ops->name));
    for (const auto& [n, k] : kShapes) {
      CAPTURE(n);
      CAPTURE(k);
      for (const int64_t piece : {int64_t{1}, int64_t{5}, int64_t{33}, n}) check_pieces<T>(*ops, n, k, piece);
    }
  }
}

}  // namespace albert_fast::testing

// RaggedBatch::validate and next_runs.
#include "engine/batch.h"

#include <doctest/doctest.h>

#include <functional>
#include <limits>

#include "kernels/errors.h"
#include "presets.h"

namespace albert_fast::testing {
namespace {

struct Arrays {
  std::vector<int32_t> tokens{1, 49, 0, 7, 8}, positions{0, 1, 2, 0, 79}, types{0, 1, 0, 0, 1}, cu_seqlens{0, 3, 3, 5};

  RaggedBatch batch() const {
    return {tokens.data(),     positions.data(),       types.data(),
            cu_seqlens.data(), int64_t(tokens.size()), int64_t(cu_seqlens.size()) - 1};
  }
};

void check_refused(const std::function<void(Arrays&)>& change, const std::string& message) {
  CAPTURE(message);
  Arrays arrays;
  change(arrays);
  CHECK_THROWS_AS(arrays.batch().validate(small_model()), InvalidInputError);
  CHECK_THROWS_WITH(arrays.batch().validate(small_model()), doctest::Contains(message.c_str()));
}

bool same(const std::vector<Run>& runs, const std::vector<Run>& expected) {
  return std::equal(runs.begin(), runs.end(), expected.begin(), expected.end(), [](const Run& a, const Run& b) {
    return a.group == b.group && a.first == b.first && a.last == b.last;
  });
}

std::vector<Run> runs_of(const ModelConfig& config, const std::vector<int32_t>& depths) {
  Progress progress{{0}, depths};
  for (size_t b = 0; b < depths.size(); ++b) progress.cu_seqlens.push_back(progress.cu_seqlens.back() + 2);
  return next_runs(config, progress);
}

}  // namespace

TEST_CASE("a batch within the model's ranges is accepted, an empty one too") {
  CHECK_NOTHROW(Arrays().batch().validate(small_model()));
  Arrays empty;
  empty.tokens = empty.positions = empty.types = {};
  empty.cu_seqlens = {0};
  CHECK_NOTHROW(empty.batch().validate(small_model()));
  empty.cu_seqlens = {0, 0, 0};
  CHECK_NOTHROW(empty.batch().validate(small_model()));
}

TEST_CASE("the first entry out of range is named") {
  check_refused([](Arrays& a) { a.tokens[3] = 50; }, "tokens: got 50 at index 3, expected an integer in 0..49");
  check_refused([](Arrays& a) { a.tokens[0] = -1; }, "tokens: got -1 at index 0");
  check_refused([](Arrays& a) { a.positions[4] = 80; }, "positions: got 80 at index 4, expected an integer in 0..79");
  check_refused([](Arrays& a) { a.positions[1] = std::numeric_limits<int32_t>::min(); }, "positions: got -2147483648");
  check_refused([](Arrays& a) { a.types[2] = 2; }, "token_types: got 2 at index 2, expected an integer in 0..1");
}

TEST_CASE("cu_seqlens must go from 0 to the number of tokens and never back") {
  check_refused([](Arrays& a) { a.cu_seqlens = {1, 3, 5}; }, "cu_seqlens: got 1 .. 5");
  check_refused([](Arrays& a) { a.cu_seqlens = {0, 3, 4}; }, "expected 0 .. the number of tokens, 5");
  check_refused([](Arrays& a) { a.cu_seqlens = {0, 4, 3, 5}; }, "cu_seqlens: got 3 at index 2");
  check_refused([](Arrays& a) { a.cu_seqlens = {0, 9, 5}; }, "cu_seqlens: got 5 at index 2");
  check_refused([](Arrays& a) { a.cu_seqlens = {0, -2, 5}; }, "cu_seqlens: got -2 at index 1");
  check_refused([](Arrays& a) { a.cu_seqlens = {0}; }, "cu_seqlens: got 0 .. 0");
  RaggedBatch huge = Arrays().batch();
  huge.num_tokens = int64_t{1} << 31;
  CHECK_THROWS_AS(huge.validate(small_model()), InvalidInputError);
}

TEST_CASE("one group: one run, whatever the depths") {
  const ModelConfig config = small_model();
  CHECK(same(runs_of(config, {0, 0, 0}), {{0, 0, 3}}));
  CHECK(same(runs_of(config, {0, 5, 11}), {{0, 0, 3}}));
  CHECK(same(runs_of(config, {12, 12}), {}));
  CHECK(same(runs_of(config, {}), {}));
  CHECK(same(runs_of(config, {12, 3, 12, 4, 5, 12}), {{0, 1, 2}, {0, 3, 5}}));
}

TEST_CASE("several groups: neighbours of one group run together") {
  const ModelConfig config = small_model(3);  // 4 iterations each
  CHECK(same(runs_of(config, {0, 3, 4, 7, 8, 11}), {{0, 0, 2}, {1, 2, 4}, {2, 4, 6}}));
  CHECK(same(runs_of(config, {0, 4, 0}), {{0, 0, 1}, {1, 1, 2}, {0, 2, 3}}));
  CHECK(same(runs_of(config, {8, 12, 8}), {{2, 0, 1}, {2, 2, 3}}));
}

TEST_CASE("the longest sequence of a batch") {
  CHECK(Progress{{0}, {}}.max_seqlen() == 0);
  CHECK(Progress{{0, 3, 3, 10, 12}, {0, 0, 0, 0}}.max_seqlen() == 7);
}

}  // namespace albert_fast::testing

// WeightLayout: the table of the one buffer.
#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "engine/weights.h"
#include "presets.h"

namespace albert_fast::testing {
namespace {

constexpr Heads kAllHeads{.pooler = true, .mlm = true, .sop = true};

int64_t elements(const WeightTensor& tensor) {
  return std::accumulate(tensor.shape.begin(), tensor.shape.end(), int64_t{1}, std::multiplies<>());
}

int64_t parameters(const WeightLayout& layout, const std::string& prefix = "") {
  int64_t count = 0;
  for (const WeightTensor& tensor : layout.tensors()) {
    if (tensor.name.starts_with(prefix)) count += elements(tensor);
  }
  return count;
}

void check_slots(const WeightLayout& layout) {
  size_t end = 0;
  std::set<std::string> names;
  for (const WeightSlot& slot : layout.slots()) {
    CAPTURE(slot.name);
    CHECK(names.insert(slot.name).second);
    CHECK(slot.offset % 64 == 0);
    CHECK(slot.offset >= end);
    CHECK(slot.offset - end < 64);  // one after the other, with nothing but alignment between
    const int64_t padded = slot.form == WeightForm::kPacked
                               ? (slot.rows + kPackedRowMultiple - 1) / kPackedRowMultiple * kPackedRowMultiple
                               : slot.rows;
    CHECK(slot.nbytes == size_t(padded * slot.cols * size_of(layout.dtype())));
    end = slot.offset + slot.nbytes;
    CHECK(&layout.slot(slot.name) == &slot);
  }
  CHECK(layout.nbytes() >= end);
  CHECK(layout.nbytes() - end < 64);
}

/// Tensors tile their slots: each row of each slot belongs to exactly one tensor.
void check_tensors(const WeightLayout& layout) {
  std::vector<int64_t> covered(layout.slots().size(), 0);
  std::set<std::string> names;
  for (const WeightTensor& tensor : layout.tensors()) {
    CAPTURE(tensor.name);
    CHECK(names.insert(tensor.name).second);
    const WeightSlot& slot = layout.slots()[tensor.slot];
    CHECK(tensor.first_row == covered[tensor.slot]);
    covered[tensor.slot] += tensor.shape[0];
    CHECK((tensor.shape.size() == 2 ? tensor.shape[1] : 1) == slot.cols);
  }
  for (size_t i = 0; i < covered.size(); ++i) CHECK(covered[i] == layout.slots()[i].rows);
}

void check_layout(const ModelConfig& config, Heads heads) {
  for (const WeightForm form : {WeightForm::kPlain, WeightForm::kPacked}) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
      const WeightLayout layout(config, heads, form, dtype);
      check_slots(layout);
      check_tensors(layout);
    }
  }
}

}  // namespace

TEST_CASE("slots are aligned, disjoint and complete, for every published model") {
  for (const auto& [name, config] : published_models()) {
    CAPTURE(name);
    check_layout(config, {});
    check_layout(config, kAllHeads);
  }
}

TEST_CASE("and with groups of inner layers") {
  for (const auto& [groups, inner] : {std::pair{1, 2}, std::pair{3, 1}, std::pair{2, 2}, std::pair{12, 3}}) {
    const ModelConfig config = small_model(groups, inner);
    check_layout(config, kAllHeads);
    const WeightLayout layout(config, kAllHeads, WeightForm::kPacked, DType::kFloat32);
    const auto layers = std::count_if(layout.tensors().begin(), layout.tensors().end(), [](const WeightTensor& tensor) {
      return tensor.name.ends_with("attention.query.weight");
    });
    CHECK(layers == groups * inner);
  }
}

TEST_CASE("xxlarge has the parameters it is known to have") {
  const ModelConfig xxlarge = published(4096, 64, 12, "gelu_new");
  const WeightLayout encoder(xxlarge, {.pooler = true}, WeightForm::kPacked, DType::kFloat32);
  CHECK(parameters(encoder) == 222'595'584);
  CHECK(parameters(encoder, "albert.encoder.albert_layer_groups.") == 201'379'840);
  CHECK(parameters(encoder, "albert.pooler.") == 4096 * 4096 + 4096);
  const WeightLayout pretraining(xxlarge, kAllHeads, WeightForm::kPacked, DType::kFloat32);
  CHECK(parameters(pretraining) == 223'158'450);  // the decoder is the word embeddings, counted once
}

TEST_CASE("heads that were not asked for take no room") {
  const ModelConfig config = small_model();
  const WeightLayout bare(config, {}, WeightForm::kPacked, DType::kFloat32);
  for (const std::string prefix : {"albert.pooler", "predictions", "sop_classifier"}) {
    CHECK(parameters(bare, prefix) == 0);
  }
  const int64_t h = config.hidden_size, e = config.embedding_size, v = config.vocab_size;
  const WeightLayout full(config, kAllHeads, WeightForm::kPacked, DType::kFloat32);
  CHECK(parameters(full, "albert.pooler") == h * h + h);
  CHECK(parameters(full, "predictions") == e * h + e + 2 * e + v);
  CHECK(parameters(full, "sop_classifier") == 2 * h + 2);
  CHECK(parameters(full) == parameters(bare) + parameters(full, "albert.pooler") + parameters(full, "predictions") +
                                parameters(full, "sop_classifier"));
}

TEST_CASE("queries, keys and values lie in one slot") {
  const WeightLayout layout(small_model(), {}, WeightForm::kPacked, DType::kFloat32);
  const std::string attention = "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.";
  int64_t row = 0;
  for (const std::string part : {"query", "key", "value"}) {
    for (const WeightTensor& tensor : layout.tensors()) {
      if (tensor.name != attention + part + ".weight") continue;
      CHECK(layout.slots()[tensor.slot].name == "layer.0.0.qkv.weight");
      CHECK(tensor.first_row == row);
      row += 30;
    }
  }
  CHECK(row == 90);
}

TEST_CASE("a configuration that cannot be has no layout") {
  ModelConfig config = small_model();
  config.vocab_size = 0;
  CHECK_THROWS_WITH(WeightLayout(config, {}, WeightForm::kPlain, DType::kFloat32),
                    doctest::Contains("vocab_size: got 0"));
}

}  // namespace albert_fast::testing

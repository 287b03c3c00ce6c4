#include "engine/weights.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "engine/convert.h"
#include "kernels/errors.h"

namespace albert_fast {
namespace {

constexpr size_t kAlignment = 64;  // one cache line, and the widest vector

size_t align(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

/// Where row i of a host matrix begins.
char* host_row(ConstMatrix m, DType dtype, int64_t i) {
  return static_cast<char*>(const_cast<void*>(m.data)) + i * m.stride * size_of(dtype);
}

/// The rows of m without gaps between them, in the stored dtype; false if a number is not finite in it.
bool to_stored_rows(DType stored, ConstMatrix m, std::vector<char>& out) {
  const size_t row_bytes = m.cols * size_of(stored);
  out.resize(m.rows * row_bytes);
  if (m.stride == m.cols) return to_stored(stored, m.data, m.rows * m.cols, out.data());
  bool finite = true;
  for (int64_t i = 0; i < m.rows; ++i) {
    finite &= to_stored(stored, host_row(m, host_dtype(stored), i), m.cols, out.data() + i * row_bytes);
  }
  return finite;
}

}  // namespace

std::string layer_prefix(int64_t group, int64_t inner) {
  return "layer." + std::to_string(group) + "." + std::to_string(inner) + ".";
}

WeightLayout::WeightLayout(const ModelConfig& config, Heads heads, WeightForm form, DType dtype)
    : config_(config), heads_(heads), form_(form), dtype_(dtype) {
  config_.validate();
  const int64_t e = config.embedding_size, h = config.hidden_size, v = config.vocab_size;
  const std::string in = "albert.embeddings.";
  add_matrix("embeddings.word", e, WeightForm::kPlain, {{in + "word_embeddings.weight", v}});
  add_matrix("embeddings.position", e, WeightForm::kPlain,
             {{in + "position_embeddings.weight", config.max_position_embeddings}});
  add_matrix("embeddings.token_type", e, WeightForm::kPlain,
             {{in + "token_type_embeddings.weight", config.type_vocab_size}});
  add_layer_norm("embeddings.norm", in + "LayerNorm", e);
  if (config.has_embedding_mapping) add_linear("mapping", "albert.encoder.embedding_hidden_mapping_in", h, e);
  for (int64_t group = 0; group < config.num_hidden_groups; ++group) {
    for (int64_t inner = 0; inner < config.inner_group_num; ++inner) add_layer(group, inner);
  }
  if (heads.pooler) add_linear("pooler", "albert.pooler", h, h);
  if (heads.mlm) {
    add_linear("mlm.dense", "predictions.dense", e, h);
    add_layer_norm("mlm.norm", "predictions.LayerNorm", e);
    add_vector("mlm.bias", {{"predictions.bias", v}});
  }
  if (heads.sop) add_linear("sop", "sop_classifier.classifier", 2, h);
}

void WeightLayout::add_layer(int64_t group, int64_t inner) {
  const int64_t h = config_.hidden_size, i = config_.intermediate_size;
  const std::string slot = layer_prefix(group, inner);
  const std::string tensor =
      "albert.encoder.albert_layer_groups." + std::to_string(group) + ".albert_layers." + std::to_string(inner) + ".";
  const std::string attention = tensor + "attention.";
  add_matrix(slot + "qkv.weight", h, form_,
             {{attention + "query.weight", h}, {attention + "key.weight", h}, {attention + "value.weight", h}});
  add_vector(slot + "qkv.bias",
             {{attention + "query.bias", h}, {attention + "key.bias", h}, {attention + "value.bias", h}});
  add_linear(slot + "dense", attention + "dense", h, h);
  add_layer_norm(slot + "attention_norm", attention + "LayerNorm", h);
  add_linear(slot + "ffn", tensor + "ffn", i, h);
  add_linear(slot + "ffn_output", tensor + "ffn_output", h, i);
  add_layer_norm(slot + "output_norm", tensor + "full_layer_layer_norm", h);
}

void WeightLayout::add_linear(const std::string& slot, const std::string& tensor, int64_t rows, int64_t cols) {
  add_matrix(slot + ".weight", cols, form_, {{tensor + ".weight", rows}});
  add_vector(slot + ".bias", {{tensor + ".bias", rows}});
}

void WeightLayout::add_layer_norm(const std::string& slot, const std::string& tensor, int64_t size) {
  add_vector(slot + ".weight", {{tensor + ".weight", size}});
  add_vector(slot + ".bias", {{tensor + ".bias", size}});
}

DType WeightLayout::dtype_of(WeightForm form) const {
  return form == form_ || form_ == WeightForm::kPlain ? dtype_ : host_dtype(dtype_);
}

void WeightLayout::add_matrix(const std::string& slot, int64_t cols, WeightForm form, const std::vector<Part>& parts) {
  int64_t rows = 0;
  for (const Part& part : parts) {
    tensors_.push_back({part.name, {part.rows, cols}, slots_.size(), rows});
    rows += part.rows;
  }
  const DType dtype = dtype_of(form);
  const size_t nbytes = form == WeightForm::kPacked ? packed_bytes(dtype, rows, cols) : rows * cols * size_of(dtype);
  slots_.push_back({slot, rows, cols, form, dtype, nbytes_, nbytes});
  nbytes_ += align(nbytes);
}

void WeightLayout::add_vector(const std::string& slot, const std::vector<Part>& parts) {
  add_matrix(slot, 1, WeightForm::kPlain, parts);
  for (size_t i = tensors_.size() - parts.size(); i < tensors_.size(); ++i) tensors_[i].shape.pop_back();
}

const WeightSlot& WeightLayout::slot(std::string_view name) const {
  const auto found =
      std::find_if(slots_.begin(), slots_.end(), [&](const WeightSlot& slot) { return slot.name == name; });
  if (found == slots_.end()) throw std::logic_error("no weight slot named " + std::string(name));
  return *found;
}

WeightBuffer::WeightBuffer(WeightLayout layout, const Ops& ops) : layout_(std::move(layout)), ops_(&ops), data_(ops) {
  for (const WeightSlot& slot : layout_.slots()) {
    if (slot.form == WeightForm::kPlain || ops.pack_weight != nullptr) continue;
    throw InvalidInputError(std::string("layout: got packed weights for ") + ops.name + ", expected plain ones");
  }
  if (ops.weight_dtype != layout_.dtype() || ops.dtype != layout_.plain_dtype()) {
    throw InvalidInputError(std::string("layout: got weights of ") + name_of(layout_.dtype()) + " for " + ops.name +
                            ", expected " + name_of(ops.weight_dtype));
  }
  data_.reserve(layout_.nbytes());
  for (const WeightTensor& tensor : layout_.tensors()) written_.emplace_back(tensor.shape[0], false);
}

size_t WeightBuffer::find_tensor(const std::string& name, int64_t first_row, ConstMatrix rows) const {
  const auto& tensors = layout_.tensors();
  const auto found =
      std::find_if(tensors.begin(), tensors.end(), [&](const WeightTensor& tensor) { return tensor.name == name; });
  if (found == tensors.end()) throw InvalidInputError("name: got '" + name + "', expected a tensor of the layout");
  const int64_t num_rows = found->shape[0], cols = layout_.slots()[found->slot].cols;
  if (rows.cols != cols || first_row < 0 || first_row > num_rows - rows.rows) {
    throw InvalidInputError("rows: got " + std::to_string(rows.rows) + " rows of " + std::to_string(rows.cols) +
                            " numbers from row " + std::to_string(first_row) + " on for '" + name + "', which has " +
                            std::to_string(num_rows) + " rows of " + std::to_string(cols));
  }
  return found - tensors.begin();
}

void WeightBuffer::write(const std::string& name, int64_t first_row, ConstMatrix rows, Stream stream) {
  const size_t index = find_tensor(name, first_row, rows);
  const WeightTensor& tensor = layout_.tensors()[index];
  const WeightSlot& slot = layout_.slots()[tensor.slot];
  const DType dtype = unpacked(slot.dtype);
  std::vector<char> stored;
  if (!to_stored_rows(dtype, rows, stored)) {
    throw CheckpointError("tensor '" + name + "': got NaN, infinity or a number beyond " + name_of(dtype) +
                          " between rows " + std::to_string(first_row) + " and " +
                          std::to_string(first_row + rows.rows) + ", expected finite weights");
  }
  char* data = data_.data() + slot.offset;
  const int64_t slot_row = tensor.first_row + first_row;
  const size_t row_bytes = slot.cols * size_of(dtype);
  if (slot.form == WeightForm::kPacked) {
    ops_->pack_weight({{stored.data(), rows.rows, slot.cols, slot.cols}, slot_row, slot.rows, data}, stream);
  } else {
    ops_->upload(data + slot_row * row_bytes, stored.data(), stored.size(), stream);
  }
  std::fill_n(written_[index].begin() + first_row, rows.rows, true);
}

void WeightBuffer::finish(Stream stream) {
  char last;
  if (data_.bytes() > 0) ops_->download(&last, data_.data() + data_.bytes() - 1, 1, stream);  // in order: all is there
}

void WeightBuffer::read(const std::string& name, Matrix out, Stream stream) const {
  const WeightTensor& tensor = layout_.tensors()[find_tensor(name, 0, out)];
  const WeightSlot& slot = layout_.slots()[tensor.slot];
  const char* data = data_.data() + slot.offset;
  const DType stored = unpacked(slot.dtype), wanted = host_dtype(stored);
  const size_t row_bytes = slot.cols * size_of(stored);
  std::vector<char> staged(out.rows * row_bytes);
  if (slot.form == WeightForm::kPacked) {
    const Matrix rows{staged.data(), out.rows, slot.cols, slot.cols};
    ops_->unpack_weight({data, tensor.first_row, slot.rows, rows}, stream);
  } else {
    ops_->download(staged.data(), data + tensor.first_row * row_bytes, staged.size(), stream);
  }
  for (int64_t i = 0; i < out.rows; ++i) {
    from_stored(stored, staged.data() + i * row_bytes, slot.cols, host_row(out, wanted, i));
  }
}

std::vector<std::string> WeightBuffer::missing() const {
  std::vector<std::string> names;
  for (size_t i = 0; i < written_.size(); ++i) {
    const bool complete = std::find(written_[i].begin(), written_[i].end(), false) == written_[i].end();
    if (!complete) names.push_back(layout_.tensors()[i].name);
  }
  return names;
}

Weight WeightBuffer::weight(const std::string& name) const {
  const WeightSlot& slot = layout_.slot(name);
  return {data_.data() + slot.offset, slot.rows, slot.cols, slot.form, slot.dtype};
}

const void* WeightBuffer::vector(const std::string& name) const { return data_.data() + layout_.slot(name).offset; }

ConstMatrix WeightBuffer::matrix(const std::string& name) const {
  const WeightSlot& slot = layout_.slot(name);
  return {data_.data() + slot.offset, slot.rows, slot.cols, slot.cols};
}

}  // namespace albert_fast

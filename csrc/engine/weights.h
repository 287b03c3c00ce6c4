// THE WEIGHTS: from a config, the table of one contiguous buffer; and that buffer.
//
// A slot is one array of the buffer, shaped as the ops want it; a tensor is one array of a checkpoint, and is a range
// of rows of one slot. The two differ only where ops want several tensors side by side:
//
//     slot  ...qkv.weight [3 H, H]   =   tensors  ...query.weight [H, H]  rows 0 .. H
//                                                 ...key.weight   [H, H]  rows H .. 2 H
//                                                 ...value.weight [H, H]  rows 2 H .. 3 H
//
// A vector [n] is a slot of n rows and one column. Iterations share slots: the table of a model with one group has one
// layer, however many iterations run over it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/config.h"
#include "engine/device_buffer.h"
#include "kernels/ops.h"

namespace albert_fast {

/// Heads a checkpoint may or may not bring beside the encoder.
struct Heads {
  bool pooler = false;
  bool mlm = false;
  bool sop = false;
};

struct WeightSlot {
  std::string name;
  int64_t rows;
  int64_t cols;
  WeightForm form;
  DType dtype;
  size_t offset;  // bytes, a multiple of 64
  size_t nbytes;
};

struct WeightTensor {
  std::string name;            // as transformers' AlbertForPreTraining.state_dict() has it
  std::vector<int64_t> shape;  // [n] or [N, K]
  size_t slot;                 // index into slots
  int64_t first_row;           // of that slot
};

class WeightLayout {
 public:
  /// `form`: how the matrices that `linear` multiplies by are kept. Embeddings and vectors are always plain.
  /// `dtype`: of those matrices. Plain slots are of it, too, where all is plain; beside packed ones they are of
  /// host_dtype(dtype), in which a CPU computes.
  WeightLayout(const ModelConfig& config, Heads heads, WeightForm form, DType dtype);

  const ModelConfig& config() const { return config_; }
  Heads heads() const { return heads_; }
  DType dtype() const { return dtype_; }
  /// Of embeddings and vectors, and so of activations.
  DType plain_dtype() const { return dtype_of(WeightForm::kPlain); }
  const std::vector<WeightSlot>& slots() const { return slots_; }
  const std::vector<WeightTensor>& tensors() const { return tensors_; }
  size_t nbytes() const { return nbytes_; }

  /// The slot of that name; it must exist.
  const WeightSlot& slot(std::string_view name) const;

 private:
  struct Part {
    std::string name;
    int64_t rows;
  };
  DType dtype_of(WeightForm form) const;
  void add_matrix(const std::string& slot, int64_t cols, WeightForm form, const std::vector<Part>& parts);
  void add_vector(const std::string& slot, const std::vector<Part>& parts);
  void add_linear(const std::string& slot, const std::string& tensor, int64_t rows, int64_t cols);
  void add_layer_norm(const std::string& slot, const std::string& tensor, int64_t size);
  void add_layer(int64_t group, int64_t inner);

  ModelConfig config_;
  Heads heads_;
  WeightForm form_;
  DType dtype_;
  std::vector<WeightSlot> slots_;
  std::vector<WeightTensor> tensors_;
  size_t nbytes_ = 0;
};

/// "layer.<group>.<inner>.", the prefix of one layer's slots.
std::string layer_prefix(int64_t group, int64_t inner);

/// The one buffer all iterations, threads and calls read. Filled once, tensor by tensor, then never written again.
class WeightBuffer {
 public:
  WeightBuffer(WeightLayout layout, const Ops& ops);

  const WeightLayout& layout() const { return layout_; }
  const Ops& ops() const { return *ops_; }

  /// Rows first_row .. first_row + rows.rows of a tensor (a vector [n] is n rows of one), of host_dtype(layout's
  /// dtype), host memory. Throws InvalidInputError for an unknown name or rows outside it, CheckpointError for what is
  /// NaN or infinite, or is so in the layout's dtype. When writing is over, `finish`.
  void write(const std::string& tensor, int64_t first_row, ConstMatrix rows, Stream stream);

  /// Returns once everything written is where ops on any stream see it.
  void finish(Stream stream);

  /// The whole tensor back in plain form, of host_dtype(layout's dtype), host memory.
  void read(const std::string& tensor, Matrix out, Stream stream) const;

  /// Tensors not yet written completely.
  std::vector<std::string> missing() const;

  /// A slot as ops take it; `vector` and `matrix` are for slots that are always plain.
  Weight weight(const std::string& slot) const;
  const void* vector(const std::string& slot) const;
  ConstMatrix matrix(const std::string& slot) const;

 private:
  size_t find_tensor(const std::string& name, int64_t first_row, ConstMatrix rows) const;

  WeightLayout layout_;
  const Ops* ops_;
  DeviceBuffer data_;
  std::vector<std::vector<bool>> written_;  // [tensor][row]
};

}  // namespace albert_fast

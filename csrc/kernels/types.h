// The few types every op speaks in. Nothing here knows a device.
#pragma once

#include <cstddef>
#include <cstdint>

namespace albert_fast {

enum class DType { kFloat32, kFloat64, kBFloat16, kFloat16, kInt16, kInt8 };

inline constexpr int64_t size_of(DType dtype) {
  if (dtype == DType::kFloat64) return 8;
  if (dtype == DType::kInt8) return 1;
  return dtype == DType::kFloat32 ? 4 : 2;
}

/// "float32", "float64", "bfloat16", "float16", "int16", "int8".
inline constexpr const char* name_of(DType dtype) {
  if (dtype == DType::kFloat32) return "float32";
  if (dtype == DType::kFloat64) return "float64";
  if (dtype == DType::kInt16) return "int16";
  if (dtype == DType::kInt8) return "int8";
  return dtype == DType::kBFloat16 ? "bfloat16" : "float16";
}

/// Integers that share scales, see kQuantGroup.
inline constexpr bool is_quantized(DType dtype) { return dtype == DType::kInt16 || dtype == DType::kInt8; }

/// In which dtype weights are handed to pack_weight: what they are stored as, or float32 where packing quantises.
inline constexpr DType unpacked(DType stored) { return is_quantized(stored) ? DType::kFloat32 : stored; }

/// Whose memory an op works on.
enum class Device { kCpu, kCuda };

/// What `linear` applies to its sums, after the bias.
enum class Activation {
  kNone,
  kGeluTanh,  // 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), "gelu_new"; Hendrycks & Gimpel 2016, section 2
  kGeluErf,   // x Phi(x), "gelu"; Hendrycks & Gimpel 2016, section 2
  kTanh,
};

/// Whether a result starts what it is written to, or is added to it.
enum class Into { kOverwrite, kAdd };

/// Which numbers of a stream dropout leaves out, by their places alone. Number e of a stream is word e % 4 of
/// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3) of the counter
/// (e / 4 low, e / 4 high, stream, 0) and the key (seed low, seed high), and is kept if that is at least floor(p 2^32).
struct Dropout {
  double p = 0;         // in [0, 1); 0: none
  uint64_t seed = 0;    // of a call
  uint32_t stream = 0;  // of a place in the model: two places never share one
};

/// How one weight matrix W[N, K] lies in memory.
enum class WeightForm {
  kPlain,   // row-major [N, K], as checkpoints and training have it
  kPacked,  // the backend's own panels; only its pack_weight and linear know the order
};

/// A row-major matrix; of the table's dtype unless the op says otherwise. `stride` is the distance between rows, in
/// elements.
struct Matrix {
  void* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  template <typename T>
  T* row(int64_t i) const {
    return static_cast<T*>(data) + i * stride;
  }
};

/// The same, read only.
struct ConstMatrix {
  const void* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  ConstMatrix() = default;
  ConstMatrix(const void* data, int64_t rows, int64_t cols, int64_t stride)
      : data(data), rows(rows), cols(cols), stride(stride) {}
  ConstMatrix(const Matrix& m) : data(m.data), rows(m.rows), cols(m.cols), stride(m.stride) {}

  template <typename T>
  const T* row(int64_t i) const {
    return static_cast<const T*>(data) + i * stride;
  }
};

/// A weight matrix W[rows, cols] = W[N, K] in one of its two forms.
struct Weight {
  const void* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  WeightForm form = WeightForm::kPlain;
  DType dtype = DType::kFloat32;  // packed: the table's weight_dtype; plain: its dtype
};

/// Memory an op may overwrite while it runs; its size comes from the op's own *_scratch function.
struct Scratch {
  void* data = nullptr;
  size_t bytes = 0;
};

/// Where an op runs: for CUDA a cudaStream_t, for the CPU a cpu::Executor.
struct Stream {
  void* handle = nullptr;
};

}  // namespace albert_fast

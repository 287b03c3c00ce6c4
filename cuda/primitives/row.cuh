// One row of numbers in the registers of a group of threads, and sums over it.
//
//   row, `width` numbers, in vectors of kVector neighbours:
//
//     slot 0: | thread 0 | thread 1 | ... | thread kThreads - 1 |     thread i holds vectors i, i + kThreads, ...,
//     slot 1: | thread 0 | thread 1 | ...                       |     so that in each slot the group's accesses
//       ...                                                           are side by side
//
//   block, kRowBlockThreads threads:   | group 0 | group 1 | ... |    each walks over rows of its own; groups of
//   several
//                                                                     warps meet at barriers of their own
//
// Who adds what to what depends on kThreads, kVector and the width alone, which are fixed by the model and the dtypes:
// a row's sums do not depend on the other rows, nor on how many blocks there are.
#pragma once

#include "primitives/number.cuh"
#include "primitives/ptx.cuh"

namespace albert_fast::cuda {

inline constexpr int kWarp = 32;

/// The largest block there is: what a block reads once for all its rows (gamma, beta) is then read the fewest times. It
/// leaves a thread 64 registers: 16 for the numbers of a row, the rest for what is loaded and for addresses.
inline constexpr int kRowBlockThreads = 1024;

/// That a block has; 0 is __syncthreads.
inline constexpr int kBlockBarriers = 16;

/// Where the warps of a block leave their parts of sums: two turns of up to two numbers. In dynamic shared memory, it
/// lies before what else the block keeps there.
struct alignas(16) RowSums {
  float parts[2][kRowBlockThreads / kWarp][2];
};

/// This thread's place in its group, and sums over the group. All threads of a warp call together.
template <int kThreads>
class RowGroup {
 public:
  static_assert((kThreads & (kThreads - 1)) == 0 && kThreads <= kRowBlockThreads, "halved step by step");

  __device__ explicit RowGroup(RowSums& sums) : sums_(sums) {}

  __device__ int thread() const { return static_cast<int>(threadIdx.x) % kThreads; }

  /// v[i] = the sum of v[i] over the group, the same in all its threads.
  template <int kCount>
  __device__ void sum(float (&v)[kCount]) {
#pragma unroll
    for (int distance = (kThreads < kWarp ? kThreads : kWarp) / 2; distance > 0; distance /= 2) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) v[i] += __shfl_xor_sync(0xffffffffu, v[i], distance);
    }
    if constexpr (kThreads > kWarp) sum_warps(v);
  }

 private:
  /// One barrier is enough, since turns alternate: who writes a part again has met the group at the barrier of the turn
  /// between, which every thread came to after it had read the parts.
  template <int kCount>
  __device__ void sum_warps(float (&v)[kCount]) {
    constexpr int kWarps = kThreads / kWarp;
    static_assert(kCount <= 2 && kRowBlockThreads / kThreads < kBlockBarriers, "parts and barriers there are");
    const int group = static_cast<int>(threadIdx.x) / kThreads;
    auto& parts = sums_.parts[turn_];
    turn_ ^= 1;
    if (threadIdx.x % kWarp == 0) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) parts[threadIdx.x / kWarp][i] = v[i];
    }
    sync_threads(1 + group, kThreads);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      v[i] = parts[group * kWarps][i];
#pragma unroll
      for (int warp = 1; warp < kWarps; ++warp) v[i] += parts[group * kWarps + warp][i];
    }
  }

  RowSums& sums_;
  int turn_ = 0;
};

/// How rows of up to kThreads_ * kNumbers_ numbers are spread, kNumbers_ to a thread.
template <int kThreads_, int kNumbers_>
struct RowShape {
  static constexpr int kThreads = kThreads_, kNumbers = kNumbers_;
  static constexpr int kMaxWidth = kThreads * kNumbers;

  /// Rows are handed out in tiles, those that one warp has at once: all its threads then take part in every step.
  static constexpr int kTileThreads = kThreads < kWarp ? kWarp : kThreads;
  static constexpr int kTileRows = kTileThreads / kThreads;
  static constexpr int kBlockTiles = kRowBlockThreads / kTileThreads;
};

/// Calls walk(row) for this thread's rows. Neighbouring tiles go to different blocks, so that few rows still use every
/// multiprocessor. In the last tile `row` may be beyond the last row, for it has to take part in the sums.
template <typename Shape, typename Walk>
__device__ void walk_rows(int64_t num_rows, Walk walk) {
  const int64_t num_tiles = (num_rows + Shape::kTileRows - 1) / Shape::kTileRows;
  const int64_t first = static_cast<int64_t>(threadIdx.x / Shape::kTileThreads) * gridDim.x + blockIdx.x;
  const int in_tile = static_cast<int>(threadIdx.x) % Shape::kTileThreads / Shape::kThreads;
  for (int64_t tile = first; tile < num_tiles; tile += static_cast<int64_t>(Shape::kBlockTiles) * gridDim.x) {
    walk(tile * Shape::kTileRows + in_tile);
  }
}

/// 1 / sqrt(x) to a rounding or two: the instruction's guess after a step of Newton's method. A true square root and
/// quotient are function calls, around which registers are saved to memory.
__device__ inline float inverse_sqrt(float x) {
  const float guess = rsqrtf(x);
  return guess + guess * (0.5f - 0.5f * x * guess * guess);
}

/// A row of which this thread holds kSlots vectors.
template <typename Shape, int kVector>
class Row {
 public:
  static constexpr int kSlots = Shape::kNumbers / kVector;

  /// A width of 0: this row takes part in the sums with nothing.
  __device__ Row(RowGroup<Shape::kThreads>& group, int width) : group_(group), width_(width) {}

  /// This row = x
  template <typename T>
  __device__ void load(const T* x) {
    each_vector([&](int column, float (&v)[kVector]) { load_floats<kVector>(x + column, v); });
  }

  /// This row += x
  template <typename T>
  __device__ void add(const T* x) {
    each_vector([&](int column, float (&v)[kVector]) {
      float w[kVector];
      load_floats<kVector>(x + column, w);
#pragma unroll
      for (int i = 0; i < kVector; ++i) v[i] += w[i];
    });
  }

  /// This row = (row - mean) / sqrt(var + eps) over 1 / inverse_count numbers, by the corrected two-pass algorithm
  /// (Chan, Golub & LeVeque 1983, eq. 1.7): differences to a rounded mean are summed too, which gives what its rounding
  /// left over. Returns 1 / sqrt(var + eps).
  __device__ float standardize(float inverse_count, float eps) {
    float sum[1] = {};
    each_vector([&](int, float (&v)[kVector]) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) sum[0] += v[i];
    });
    group_.sum(sum);
    const float rough = sum[0] * inverse_count;
    float sums[2] = {};  // of differences to `rough`, and of their squares
    each_vector([&](int, float (&v)[kVector]) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        v[i] -= rough;
        sums[0] += v[i];
        sums[1] += v[i] * v[i];
      }
    });
    group_.sum(sums);
    const float left_over = sums[0] * inverse_count;
    const float variance = fmaxf(sums[1] * inverse_count - left_over * left_over, 0.0f);
    const float scale = inverse_sqrt(variance + eps);
    each_vector([&](int, float (&v)[kVector]) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) v[i] = (v[i] - left_over) * scale;
    });
    return scale;
  }

  /// This row = 0
  __device__ void clear() {
    each_vector([&](int, float (&v)[kVector]) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) v[i] = 0;
    });
  }

  /// Backwards through `standardize`, which left `x` and returned `scale`, and `store_scaled`: this row is dy and
  /// becomes dx, and what it means for gamma and beta is added to dgamma and dbeta.
  template <typename T>
  __device__ void differentiate(Row& x, float scale, const T* gamma, float inverse_count, Row& dgamma, Row& dbeta) {
    float sums[2] = {};  // of dy gamma, and of dy gamma x
    each_slot([&](int slot, int column) {
      float (&v)[kVector] = values_[slot];
      float g[kVector];
      load_floats<kVector>(gamma + column, g);
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        dgamma.values_[slot][i] += v[i] * x.values_[slot][i];
        dbeta.values_[slot][i] += v[i];
        v[i] *= g[i];
        sums[0] += v[i];
        sums[1] += v[i] * x.values_[slot][i];
      }
    });
    group_.sum(sums);
    const float mean = sums[0] * inverse_count, slope = sums[1] * inverse_count;
    each_slot([&](int slot, int) {
      float (&v)[kVector] = values_[slot];
#pragma unroll
      for (int i = 0; i < kVector; ++i) v[i] = (v[i] - mean - x.values_[slot][i] * slope) * scale;
    });
  }

  /// This row = row / max(|row|, least_norm), with the Euclidean norm
  __device__ void normalize(float least_norm) {
    float squares[1] = {};
    each_vector([&](int, float (&v)[kVector]) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) squares[0] += v[i] * v[i];
    });
    group_.sum(squares);
    // Asked this way round, NaN goes through.
    const float scale = squares[0] < least_norm * least_norm ? 1.0f / least_norm : inverse_sqrt(squares[0]);
    each_vector([&](int, float (&v)[kVector]) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) v[i] *= scale;
    });
  }

  /// y = row
  template <typename T>
  __device__ void store(T* y) {
    each_vector([&](int column, float (&v)[kVector]) { store_floats(y + column, v); });
  }

  /// y = row * gamma + beta
  template <typename T>
  __device__ void store_scaled(const T* gamma, const T* beta, T* y) {
    each_vector([&](int column, float (&v)[kVector]) {
      float g[kVector], b[kVector];
      load_floats<kVector>(gamma + column, g);
      load_floats<kVector>(beta + column, b);
#pragma unroll
      for (int i = 0; i < kVector; ++i) v[i] = v[i] * g[i] + b[i];
      store_floats(y + column, v);
    });
  }

 private:
  template <typename F>
  __device__ void each_slot(F f) {
#pragma unroll
    for (int slot = 0; slot < kSlots; ++slot) {
      const int column = (slot * Shape::kThreads + group_.thread()) * kVector;
      if (column < width_) f(slot, column);
    }
  }

  template <typename F>
  __device__ void each_vector(F f) {
    each_slot([&](int slot, int column) { f(column, values_[slot]); });
  }

  RowGroup<Shape::kThreads>& group_;
  int width_;
  float values_[kSlots][kVector];
};

/// to[i] = from[i] for i < n, by all threads of the block; n in multiples of 16 bytes. A barrier has to follow.
template <typename T>
__device__ void copy_by_block(T* to, const T* from, int n) {
  constexpr int kVector = 16 / sizeof(T);
  for (int i = static_cast<int>(threadIdx.x); i < n / kVector; i += static_cast<int>(blockDim.x)) {
    reinterpret_cast<uint4*>(to)[i] = reinterpret_cast<const uint4*>(from)[i];
  }
}

}  // namespace albert_fast::cuda

// losses[i] = log(sum over v of exp(logits[i][v])) - logits[i][labels[i]]
// dlogits[i][v] = scale * (softmax(logits[i])[v] - (v == labels[i]));  both 0 where labels[i] is negative
//
//   logits [n, V] fp32,  labels [n],  losses [n] fp32,  dlogits [n, V]
//
// One block to a row, whose threads have columns thread, thread + kThreads, ...: V is any number (a head for two or
// three classes has as many columns), so a number at a time, side by side.
//
//   1. each thread: maximum of its columns, and the sum of exp relative to it (Milakov & Gimelshein 2018, algorithm 3)
//   2. lanes of a warp add these up in a tree, then every thread adds the warps' parts in their order
//   3. each thread writes the gradients of the columns it has read: dlogits may be logits
//
// Barriers: before parts are read, which no part outlives.
#include <cmath>

#include "ops.h"
#include "primitives/number.cuh"
#include "primitives/row.cuh"
#include "runtime/launch.h"

namespace albert_fast::cuda {
namespace {

/// 16 warps with kBatch loads each on their way: a row of 30000 numbers is 15 rounds.
constexpr int kThreads = 512;
constexpr int kBatch = 4;

template <typename T>
struct CrossEntropyParameters {
  const float* logits;
  const int32_t* labels;
  float* losses;
  T* dlogits;
  int64_t logits_stride, dlogits_stride;
  int64_t num_classes;
  float scale;
};

/// What to subtract: -infinity less -infinity would be NaN where the sum is 0.
__device__ inline float finite(float maximum) { return maximum == -INFINITY ? 0.0f : maximum; }

/// A maximum, and the sum of exp(x - maximum). Of no numbers: -infinity and 0.
struct PartialSoftmax {
  float maximum, sum;

  __device__ void add(const PartialSoftmax& other) {
    const float greatest = fmaxf(maximum, other.maximum);
    const float base = finite(greatest);
    sum = sum * expf(maximum - base) + other.sum * expf(other.maximum - base);
    maximum = greatest;
  }
};

/// Of the columns of this thread, kBatch at a time.
__device__ inline PartialSoftmax sum_columns(const float* logits, int64_t num_classes) {
  PartialSoftmax part = {-INFINITY, 0};
  for (int64_t first = threadIdx.x; first < num_classes; first += kBatch * kThreads) {
    float x[kBatch];
    PartialSoftmax batch = {-INFINITY, 0};
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      x[b] = first + b * kThreads < num_classes ? logits[first + b * kThreads] : -INFINITY;
      batch.maximum = fmaxf(batch.maximum, x[b]);
    }
#pragma unroll
    for (int b = 0; b < kBatch; ++b) batch.sum += expf(x[b] - finite(batch.maximum));
    part.add(batch);
  }
  return part;
}

/// The sum of all threads' parts, the same bits in every thread.
__device__ inline PartialSoftmax add_threads(PartialSoftmax part) {
  __shared__ PartialSoftmax parts[kThreads / kWarp];
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    part.add({__shfl_down_sync(~0u, part.maximum, distance), __shfl_down_sync(~0u, part.sum, distance)});
  }
  if (threadIdx.x % kWarp == 0) parts[threadIdx.x / kWarp] = part;
  __syncthreads();
  part = parts[0];
  for (int warp = 1; warp < kThreads / kWarp; ++warp) part.add(parts[warp]);
  return part;
}

template <typename T>
__global__ void __launch_bounds__(kThreads) cross_entropy_kernel(CrossEntropyParameters<T> p) {
  const int64_t row = blockIdx.x;
  const float* const logits = p.logits + row * p.logits_stride;
  T* const dlogits = p.dlogits + row * p.dlogits_stride;
  const int label = p.labels[row];
  if (label < 0) {
    if (threadIdx.x == 0) p.losses[row] = 0;
    for (int64_t v = threadIdx.x; v < p.num_classes; v += kThreads) dlogits[v] = from_float<T>(0);
    return;
  }
  const float labelled = threadIdx.x == 0 ? logits[label] : 0;  // before its gradient may take its place
  const PartialSoftmax all = add_threads(sum_columns(logits, p.num_classes));
  if (threadIdx.x == 0) p.losses[row] = logf(all.sum) + (all.maximum - labelled);
  const float factor = p.scale / all.sum;
#pragma unroll 4  // loads on their way at once
  for (int64_t v = threadIdx.x; v < p.num_classes; v += kThreads) {
    const float probability = expf(logits[v] - all.maximum) * factor;
    dlogits[v] = from_float<T>(v == label ? probability - p.scale : probability);
  }
}

}  // namespace

template <typename T>
void cross_entropy(const CrossEntropy& op, Stream stream) {
  launch(cross_entropy_kernel<T>, {dim3(static_cast<unsigned>(op.logits.rows)), dim3(kThreads)}, stream,
         CrossEntropyParameters<T>{static_cast<const float*>(op.logits.data), op.labels, static_cast<float*>(op.losses),
                                   static_cast<T*>(op.dlogits.data), op.logits.stride, op.dlogits.stride,
                                   op.logits.cols, static_cast<float>(op.scale)});
}

template void cross_entropy<float>(const CrossEntropy&, Stream);
template void cross_entropy<__half>(const CrossEntropy&, Stream);
template void cross_entropy<__nv_bfloat16>(const CrossEntropy&, Stream);

}  // namespace albert_fast::cuda

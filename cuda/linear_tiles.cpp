// The choice of a tile: the one whose estimated time is the least, the first of the table where several are equal.
//
// The estimate, in clocks of one multiprocessor, is the larger of
//
//     the busiest multiprocessor   ceil(blocks / multiprocessors) x (fixed + k-loop), the k-loop being the largest of
//                                      tensor   its multiply-adds
//                                      shared   bytes that warps read as fragments, and copies write
//                                      cache    bytes of both operands from L2
//     memory                       bytes of the whole weight / (busy multiprocessors x share of the bandwidth)
//
// The last term is why few tokens take narrow tiles: the weight is read once whatever the tile, and a multiprocessor
// that has no block takes no part in reading it. The rates are those of sm_80; the choice needs no more than their
// order of magnitude, and it decides about time alone: results have the same bits with every tile.
#include "linear_tiles.h"

#include <algorithm>

namespace albert_fast::cuda {
namespace {

// Of one multiprocessor, per clock.
constexpr double kMultiplyAdds = 1024;  // 16 bit, by its tensor cores
constexpr double kSharedBytes = 128;
constexpr double kCacheBytes = 48;   // 5120 bytes of L2 for 108 multiprocessors
constexpr double kMemoryBytes = 10;  // 1.5 TB/s at 1.4 GHz, for as many

/// Clocks of a block beside its k-loop: the first stages arrive, the sums leave.
constexpr double kFixed = 2000;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t count_blocks(const LinearTile& tile, int64_t num_tokens, int64_t rows) {
  return ceil_div(num_tokens, tile.tokens) * ceil_div(rows, tile.rows);
}

double estimate(const LinearTile& tile, int element_size, int64_t num_tokens, int64_t rows, int64_t cols,
                const DeviceLimits& limits) {
  const int64_t blocks = count_blocks(tile, num_tokens, rows);
  const double depth_bytes = static_cast<double>(ceil_div(cols, tile.depth) * tile.depth * element_size);
  const int warp_reads = tile.tokens * tile.warps_n + tile.rows * tile.warps_m;  // each warp reads its part of both
  const double tensor = tile.tokens * tile.rows * (depth_bytes / element_size) / kMultiplyAdds;
  const double shared = (warp_reads + tile.tokens + tile.rows) * depth_bytes / kSharedBytes;
  const double cache = (tile.tokens + tile.rows) * depth_bytes / kCacheBytes;
  const double busiest = ceil_div(blocks, limits.multiprocessors) * (kFixed + std::max({tensor, shared, cache}));

  const double busy = static_cast<double>(std::min<int64_t>(blocks, limits.multiprocessors));
  const double memory = rows * depth_bytes / (busy * kMemoryBytes);
  return std::max(busiest, memory);
}

}  // namespace

LinearConfig choose_linear_tile(DType dtype, int64_t num_tokens, int64_t rows, int64_t cols,
                                const DeviceLimits& limits) {
  const bool simt = dtype == DType::kFloat32;
  const LinearTile* first = simt ? std::begin(kSimtTiles) : std::begin(kMmaTiles);
  const LinearTile* last = simt ? std::end(kSimtTiles) : std::end(kMmaTiles);
  const int element_size = static_cast<int>(size_of(dtype));
  const LinearTile& best = *std::min_element(first, last, [&](const LinearTile& a, const LinearTile& b) {
    return estimate(a, element_size, num_tokens, rows, cols, limits) <
           estimate(b, element_size, num_tokens, rows, cols, limits);
  });
  return {best, count_blocks(best, num_tokens, rows), static_cast<size_t>(shared_bytes(best, element_size))};
}

std::string describe(const LinearConfig& config) {
  const auto text = [](int64_t number) { return std::to_string(number); };
  const LinearTile& tile = config.tile;
  return text(tile.tokens) + " x " + text(tile.rows) + " x " + text(tile.depth) + ", " + text(tile.stages) +
         " stages, " + text(tile.warps_m) + " x " + text(tile.warps_n) + " warps of " +
         text(tile.tokens / tile.warps_m) + " x " + text(tile.rows / tile.warps_n) + ", " + text(config.num_blocks) +
         " blocks, " + text(static_cast<int64_t>(config.shared_bytes)) + " bytes";
}

}  // namespace albert_fast::cuda

// The choice of a tile: the one whose estimated time is the least. The estimate, in clocks of one multiprocessor, is
//
//     ceil(blocks / multiprocessors) x (kFixed + largest + kExposed x the others), of what a block needs for its
//     k-loop:
//         tensor   its multiply-adds
//         shared   bytes that warps read as fragments, and that copies write
//         cache    bytes of both operands, from L2
//         memory   bytes of its rows of the weight, divided by the blocks that share them: they come from memory once
//
// For few tokens memory is the largest, by the weight alone, and the first factor decides: narrow tiles give every
// multiprocessor its part of the weight to load, and the same part. For many, the larger a tile the less it reads for a
// multiply-add, until the last round of blocks leaves too many multiprocessors idle. The rates are those of sm_80; the
// choice needs no more than how they relate, and it decides about time alone: all tiles give the same bits.
#include "linear_tiles.h"

#include <algorithm>
#include <iterator>

namespace albert_fast::cuda {
namespace {

// Of one multiprocessor, per clock.
constexpr double kMultiplyAdds = 1024;  // 16 bit, by its tensor cores
constexpr double kSharedBytes = 128;
constexpr double kCacheBytes = 48;   // 5120 bytes of L2 for 108 multiprocessors
constexpr double kMemoryBytes = 10;  // 1.5 TB/s at 1.4 GHz, for as many

/// Clocks of a block beside its k-loop: the first stages arrive, the sums leave.
constexpr double kFixed = 2000;

/// How much of what could hide behind the largest part does not.
constexpr double kExposed = 0.25;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

double estimate(const LinearTile& tile, int element_size, int64_t num_tokens, int64_t rows, int64_t cols,
                const DeviceLimits& limits) {
  const int64_t token_tiles = std::max<int64_t>(ceil_div(num_tokens, tile.tokens), 1);
  const int64_t blocks = token_tiles * ceil_div(rows, tile.rows);
  const int64_t depth = ceil_div(cols, tile.depth) * tile.depth, depth_bytes = depth * element_size;
  const int64_t tokens_read = std::min<int64_t>(tile.tokens, num_tokens);
  const int64_t rows_read = std::min<int64_t>(tile.rows, rows);
  const int64_t fragments = tile.tokens * tile.warps_n + tile.rows * tile.warps_m;  // each warp reads its part of both

  const double tensor = tile.tokens * tile.rows * depth / kMultiplyAdds;
  const double shared = (fragments + tile.tokens + tile.rows) * depth_bytes / kSharedBytes;
  const double cache = (tokens_read + rows_read) * depth_bytes / kCacheBytes;
  const double memory = rows_read * depth_bytes / kMemoryBytes / token_tiles;
  const double largest = std::max({tensor, shared, cache, memory});
  const double others = tensor + shared + cache + memory - largest;
  return ceil_div(blocks, limits.multiprocessors) * (kFixed + largest + kExposed * others);
}

/// Of 16-bit types one of `table`, of float one of its own.
template <size_t kCount>
LinearConfig choose(const LinearTile (&table)[kCount], DType dtype, int64_t num_tokens, int64_t rows, int64_t cols,
                    const DeviceLimits& limits) {
  const bool simt = dtype == DType::kFloat32;
  const LinearTile* first = simt ? std::begin(kSimtTiles) : std::begin(table);
  const LinearTile* last = simt ? std::end(kSimtTiles) : std::end(table);
  const int element_size = static_cast<int>(size_of(dtype));
  // The first of the table, where several are equal.
  const LinearTile& best = *std::min_element(first, last, [&](const LinearTile& a, const LinearTile& b) {
    return estimate(a, element_size, num_tokens, rows, cols, limits) <
           estimate(b, element_size, num_tokens, rows, cols, limits);
  });
  const int64_t num_blocks = ceil_div(num_tokens, best.tokens) * ceil_div(rows, best.rows);
  return {best, num_blocks, static_cast<size_t>(shared_bytes(best, element_size))};
}

}  // namespace

LinearConfig choose_linear_tile(DType dtype, int64_t num_tokens, int64_t rows, int64_t cols,
                                const DeviceLimits& limits) {
  return choose(kMmaTiles, dtype, num_tokens, rows, cols, limits);
}

LinearConfig choose_gradient_tile(DType dtype, int64_t result_rows, int64_t result_cols, int64_t depth,
                                  const DeviceLimits& limits) {
  return choose(kGradientTiles, dtype, result_rows, result_cols, depth, limits);
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

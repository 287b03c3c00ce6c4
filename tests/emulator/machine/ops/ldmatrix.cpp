// ldmatrix: one, two or four 8 x 8 matrices of 16-bit numbers from shared memory.
//
// Lane 8 m + r holds the address of row r of matrix m (16 bytes). Register m of lane l gets, of matrix m,
//     without .trans   row l / 4, columns 2 (l % 4) and the next
//     with .trans      rows 2 (l % 4) and the next, column l / 4
#include <cstring>

#include "emulator/machine/access.h"
#include "emulator/machine/lanes.h"
#include "emulator/machine/ops/decode.h"

namespace emulator {
namespace {

template <bool kTranspose>
void run_ldmatrix(Warp& w, const Instruction& i) {
  uint64_t address[32];
  addresses_of(w, i, address);
  const uint32_t rows = i.count == 4 ? UINT32_MAX : (1u << (8 * i.count)) - 1;
  const Pointers from = resolve_shared(w, i, address, rows, 16, Access::kRead);
  for (int m = 0; m < i.count; ++m) {
    uint16_t matrix[8][8];
    for (int r = 0; r < 8; ++r) {
      if (from.valid >> (m * 8 + r) & 1) {
        std::memcpy(matrix[r], from.lane[m * 8 + r], 16);
      } else {
        std::memset(matrix[r], 0xff, 16);
      }
    }
    uint32_t* d = w.lanes<uint32_t>(i.d[m]);
    if constexpr (kTranspose) {
      for (int l = 0; l < 32; ++l) {
        d[l] = matrix[l % 4 * 2][l / 4] | uint32_t{matrix[l % 4 * 2 + 1][l / 4]} << 16;
      }
    } else {
      std::memcpy(d, matrix, sizeof matrix);  // the same order, as it happens
    }
  }
}

}  // namespace

void decode_ldmatrix(Decoder& d, Instruction& i) {
  i.kind = InstructionClass::kMatrixLoad;
  i.flow = Flow::kAligned;
  i.space = ptx::StateSpace::kShared;
  if (!d.take("sync") || !d.take("aligned") || !d.take("m8n8") || !d.take("b16")) d.unknown();
  const bool generic = d.take_any({"shared", "shared::cta"}).empty();
  i.count = d.take("x1") ? 1 : d.take("x2") ? 2 : d.take("x4") ? 4 : 0;
  if (i.count == 0) d.unknown();
  i.run = d.take("trans") ? run_ldmatrix<true> : run_ldmatrix<false>;
  d.expect_operands(2);
  decode_destinations(d, d.operand(0), i.count, 32, i.d);
  d.address(d.operand(1), i);
  if (generic) i.immediate -= static_cast<int64_t>(kSharedWindow);  // outside of the window: out of bounds
}

}  // namespace emulator

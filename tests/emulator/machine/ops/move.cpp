// mov, with packing and unpacking of vectors; and cvta, which moves addresses in and out of generic space.
#include "emulator/machine/lanes.h"
#include "emulator/machine/ops/decode.h"

namespace emulator {
namespace {

template <class T>
void run_move(Warp& w, const Instruction& i) {
  map1<T, T>(w, i, [](T a) { return a; });
}
void run_move_predicate(Warp& w, const Instruction& i) { store_predicate(w, i.d[0], w.predicate(i.a[0])); }

/// {d0, d1, ...} of N bits each <- one register. A destination may be left out.
template <class Part, class Whole>
void run_unpack(Warp& w, const Instruction& i) {
  constexpr int kParts = sizeof(Whole) / sizeof(Part);
  Whole whole[32];
  std::memcpy(whole, w.lanes<Whole>(i.a[0]), sizeof whole);
  for (int part = 0; part < kParts; ++part) {
    if (i.d[part] == kNone) continue;
    Part result[32];
    for (int l = 0; l < 32; ++l) result[l] = static_cast<Part>(whole[l] >> (part * sizeof(Part) * 8));
    store(w, i.d[part], result);
  }
}

template <class Part, class Whole>
void run_pack(Warp& w, const Instruction& i) {
  constexpr int kParts = sizeof(Whole) / sizeof(Part);
  Whole result[32] = {};
  for (int part = 0; part < kParts; ++part) {
    const Part* a = w.lanes<Part>(i.a[part]);
    for (int l = 0; l < 32; ++l) result[l] |= static_cast<Whole>(a[l]) << (part * sizeof(Part) * 8);
  }
  store(w, i.d[0], result);
}

Run select_unpack(unsigned part, unsigned whole) {
  if (part == 16 && whole == 32) return run_unpack<uint16_t, uint32_t>;
  if (part == 16 && whole == 64) return run_unpack<uint16_t, uint64_t>;
  if (part == 32 && whole == 64) return run_unpack<uint32_t, uint64_t>;
  return nullptr;
}
Run select_pack(unsigned part, unsigned whole) {
  if (part == 16 && whole == 32) return run_pack<uint16_t, uint32_t>;
  if (part == 16 && whole == 64) return run_pack<uint16_t, uint64_t>;
  if (part == 32 && whole == 64) return run_pack<uint32_t, uint64_t>;
  return nullptr;
}

/// Clocks count the instructions the block has run: they rise, and say nothing about time.
template <class T>
void run_clock(Warp& w, const Instruction& i) {
  T result[32];
  for (T& r : result) r = static_cast<T>(w.block->steps);
  store(w, i.d[0], result);
}

void decode_vector_move(Decoder& d, Instruction& i, unsigned whole) {
  const ptx::Operand &to = d.operand(0), &from = d.operand(1);
  const bool unpacks = to.kind == ptx::Operand::kVector;
  const auto& parts = unpacks ? to.elements : from.elements;
  if (parts.size() < 2 || parts.size() > 4) d.unknown();
  const unsigned part = whole / static_cast<unsigned>(parts.size());
  i.run = unpacks ? select_unpack(part, whole) : select_pack(part, whole);
  if (!i.run) d.unknown();
  for (size_t p = 0; p < parts.size(); ++p) {
    (unpacks ? i.d[p] : i.a[p]) = unpacks ? d.destination(parts[p], part) : d.source(parts[p], part);
  }
  (unpacks ? i.a[0] : i.d[0]) = unpacks ? d.source(from, whole) : d.destination(to, whole);
}

}  // namespace

void decode_move(Decoder& d, Instruction& i) {
  i.kind = InstructionClass::kMove;
  const ptx::ScalarType type = d.take_type();
  d.expect_operands(2);
  const ptx::Operand &to = d.operand(0), &from = d.operand(1);
  if (to.kind == ptx::Operand::kVector || from.kind == ptx::Operand::kVector) {
    return decode_vector_move(d, i, type.bits);
  }
  i.d[0] = d.destination(to, type.width());
  if (from.kind == ptx::Operand::kSpecial &&
      (from.name == "%clock" || from.name == "%clock64" || from.name == "%globaltimer")) {
    i.run = type.bits == 64 ? run_clock<uint64_t> : run_clock<uint32_t>;
    return;
  }
  i.a[0] = d.source(from, type.width());
  i.run = type.kind == ptx::Type::kPred ? run_move_predicate
          : type.bits == 16             ? run_move<uint16_t>
          : type.bits == 32             ? run_move<uint32_t>
                                        : run_move<uint64_t>;
}

void decode_cvta(Decoder& d, Instruction& i) {
  i.kind = InstructionClass::kMove;
  const bool from_generic = d.take("to");
  const std::string space = d.take_any({"global", "shared", "shared::cta", "local", "const", "param"});
  if (space.empty() || d.take_type().bits != 64) d.unknown();
  d.expect_operands(2);
  i.d[0] = d.destination(d.operand(0), 64);
  i.a[0] = d.source(d.operand(1), 64);
  const uint64_t window = space.starts_with("shared") ? kSharedWindow
                          : space == "local"          ? kLocalWindow
                          : space == "param"          ? kParamWindow
                                                      : 0;
  i.immediate = static_cast<int64_t>(from_generic ? 0 - window : window);
  i.run = [](Warp& w, const Instruction& i) {
    map1<uint64_t, uint64_t>(w, i, [add = static_cast<uint64_t>(i.immediate)](uint64_t a) { return a + add; });
  };
}

}  // namespace emulator

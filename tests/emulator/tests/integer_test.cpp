// Integer arithmetic, logic, shifts and bit fields on random bits, against plain C++.
#include <bit>

#include "emulator/tests/support.h"

namespace emulator::test {
namespace {

template <class T, class F>
void binary(const std::string& op, F f) {
  check_bits<T, T, T, T>(op + " %d, %a, %b;", [&](T a, T b, T) { return static_cast<T>(f(a, b)); });
}

__extension__ using Wide = __int128;

TEST_CASE("add, sub, mul, mad, min, max") {
  binary<int32_t>("add.s32", [](int64_t a, int64_t b) { return a + b; });
  binary<uint16_t>("sub.u16", [](int64_t a, int64_t b) { return a - b; });
  binary<uint64_t>("add.u64", [](uint64_t a, uint64_t b) { return a + b; });
  binary<int32_t>("mul.lo.s32", [](uint64_t a, uint64_t b) { return a * b; });
  binary<int32_t>("mul.hi.s32", [](int64_t a, int64_t b) { return a * b >> 32; });
  binary<uint32_t>("mul.hi.u32", [](uint64_t a, uint64_t b) { return a * b >> 32; });
  binary<int64_t>("mul.hi.s64", [](int64_t a, int64_t b) { return static_cast<int64_t>(Wide{a} * b >> 64); });
  binary<int32_t>("min.s32", [](int32_t a, int32_t b) { return std::min(a, b); });
  binary<uint32_t>("max.u32", [](uint32_t a, uint32_t b) { return std::max(a, b); });
  check_bits<int64_t, int32_t, int32_t, int32_t>("mul.wide.s32 %d, %a, %b;",
                                                 [](int64_t a, int64_t b, int32_t) { return a * b; });
  check_bits<uint32_t, uint16_t, uint16_t, uint16_t>("mul.wide.u16 %d, %a, %b;",
                                                     [](uint32_t a, uint32_t b, uint16_t) { return a * b; });
  check_bits<uint64_t, uint32_t, uint32_t, uint64_t>("mad.wide.u32 %d, %a, %b, %c;",
                                                     [](uint64_t a, uint64_t b, uint64_t c) { return a * b + c; });
  check_bits<uint32_t, uint32_t, uint32_t, uint32_t>("mad.lo.s32 %d, %a, %b, %c;",
                                                     [](uint32_t a, uint32_t b, uint32_t c) { return a * b + c; });
  check_bits<int32_t, int32_t, int32_t, int32_t>(
      "neg.s32 %d, %a;", [](uint32_t a, int32_t, int32_t) { return static_cast<int32_t>(0 - a); });
  binary<int32_t>("add.sat.s32", [](int64_t a, int64_t b) { return std::clamp<int64_t>(a + b, INT32_MIN, INT32_MAX); });
}

TEST_CASE("division truncates; by zero it does not trap") {
  binary<int32_t>("div.s32", [](int64_t a, int64_t b) { return b ? a / b : -1; });
  binary<uint32_t>("div.u32", [](uint32_t a, uint32_t b) { return b ? a / b : ~0u; });
  binary<int32_t>("rem.s32", [](int64_t a, int64_t b) { return b ? a % b : a; });
  binary<uint64_t>("rem.u64", [](uint64_t a, uint64_t b) { return b ? a % b : a; });
}

TEST_CASE("logic and shifts; a shift by the width or more empties") {
  binary<uint32_t>("and.b32", [](uint32_t a, uint32_t b) { return a & b; });
  binary<uint64_t>("xor.b64", [](uint64_t a, uint64_t b) { return a ^ b; });
  binary<uint16_t>("or.b16", [](uint16_t a, uint16_t b) { return a | b; });
  check_bits<uint32_t, uint32_t, uint32_t, uint32_t>("not.b32 %d, %a;",
                                                     [](uint32_t a, uint32_t, uint32_t) { return ~a; });
  check_bits<uint32_t, uint32_t, uint32_t, uint32_t>(
      "shl.b32 %d, %a, %b;", [](uint32_t a, uint32_t n, uint32_t) { return n > 31 ? 0 : a << n; });
  check_bits<uint64_t, uint64_t, uint32_t, uint32_t>(
      "shr.u64 %d, %a, %b;", [](uint64_t a, uint32_t n, uint32_t) { return n > 63 ? 0 : a >> n; });
  check_bits<int32_t, int32_t, uint32_t, uint32_t>(
      "shr.s32 %d, %a, %b;", [](int32_t a, uint32_t n, uint32_t) { return a >> std::min(n, 31u); });
  check_bits<uint32_t, uint32_t, uint32_t, uint32_t>(
      "shf.l.wrap.b32 %d, %a, %b, %c;", [](uint32_t a, uint32_t b, uint32_t c) {
        return static_cast<uint32_t>(((uint64_t{b} << 32 | a) << (c & 31)) >> 32);
      });
  check_bits<uint32_t, uint32_t, uint32_t, uint32_t>(
      "shf.r.clamp.b32 %d, %a, %b, %c;", [](uint32_t a, uint32_t b, uint32_t c) {
        return static_cast<uint32_t>((uint64_t{b} << 32 | a) >> std::min(c, 32u));
      });
  check_bits<uint32_t, uint32_t, uint32_t, uint32_t>("lop3.b32 %d, %a, %b, %c, 0x96;",
                                                     [](uint32_t a, uint32_t b, uint32_t c) { return a ^ b ^ c; });
  check_bits<uint32_t, uint32_t, uint32_t, uint32_t>(
      "lop3.b32 %d, %a, %b, %c, 0xca;", [](uint32_t a, uint32_t b, uint32_t c) { return (a & b) | (~a & c); });
}

TEST_CASE("bit fields and counts") {
  const auto ones = [](uint32_t position, uint32_t length) {
    uint32_t mask = 0;
    for (uint64_t bit = position; bit < std::min(uint64_t{position} + length, uint64_t{32}); ++bit) mask |= 1u << bit;
    return mask;
  };
  binary<uint32_t>("bmsk.clamp.b32", ones);
  binary<uint32_t>("bmsk.wrap.b32", [&](uint32_t p, uint32_t n) { return ones(p % 32, n % 32); });
  check_bits<uint32_t, uint32_t, uint32_t, uint32_t>(
      "popc.b32 %d, %a;", [](uint32_t a, uint32_t, uint32_t) { return static_cast<uint32_t>(std::popcount(a)); });
  check_bits<uint32_t, uint64_t, uint32_t, uint32_t>(
      "clz.b64 %d, %a;", [](uint64_t a, uint32_t, uint32_t) { return static_cast<uint32_t>(std::countl_zero(a)); });
  check_bits<uint32_t, uint32_t, uint32_t, uint32_t>("bfe.u32 %d, %a, 5, 9;",
                                                     [](uint32_t a, uint32_t, uint32_t) { return a >> 5 & 511; });
  check_bits<int32_t, int32_t, uint32_t, uint32_t>("bfe.s32 %d, %a, 5, 9;", [](int32_t a, uint32_t, uint32_t) {
    return static_cast<int32_t>(static_cast<uint32_t>(a) << 18) >> 23;
  });
  check_bits<uint32_t, uint32_t, uint32_t, uint32_t>(
      "bfi.b32 %d, %a, %b, 7, 12;",
      [](uint32_t a, uint32_t b, uint32_t) { return (b & ~(0xfffu << 7)) | (a & 0xfff) << 7; });
  check_bits<uint32_t, uint32_t, uint32_t, uint32_t>("brev.b32 %d, %a;", [](uint32_t a, uint32_t, uint32_t) {
    uint32_t r = 0;
    for (int i = 0; i < 32; ++i) r |= (a >> i & 1) << (31 - i);
    return r;
  });
  check_bits<uint32_t, uint32_t, uint32_t, uint32_t>(
      "prmt.b32 %d, %a, %b, %c;", [](uint32_t a, uint32_t b, uint32_t c) {
        uint32_t r = 0;
        for (int i = 0; i < 4; ++i) {
          const uint32_t pick = c >> (4 * i) & 15, byte = ((pick & 4 ? b : a) >> (8 * (pick & 3))) & 255;
          r |= (pick & 8 ? (byte & 128 ? 255u : 0u) : byte) << (8 * i);
        }
        return r;
      });
}

TEST_CASE("mov packs and unpacks; cvta is its own inverse; comparisons choose") {
  check_bits<uint32_t, uint16_t, uint16_t, uint16_t>("mov.b32 %d, {%a, %b};",
                                                     [](uint32_t a, uint32_t b, uint16_t) { return a | b << 16; });
  check_bits<uint32_t, uint64_t, uint32_t, uint32_t>(
      "mov.b64 {_, %d}, %a;", [](uint64_t a, uint32_t, uint32_t) { return static_cast<uint32_t>(a >> 32); });
  const std::string there_and_back = "{ cvta.shared.u64 %rd9, %a; cvta.to.shared.u64 %rd9, %rd9; mov.u64 %d, %rd9; }";
  check_bits<uint64_t, uint64_t, uint32_t, uint32_t>("mov.u64 %d, %a;",
                                                     [](uint64_t a, uint32_t, uint32_t) { return a; });
  const auto x = run_lanes(
      there_and_back, Lanes<uint64_t, uint64_t, uint32_t, uint32_t>{random_bits<uint64_t>(), random_bits<uint32_t>(),
                                                                    random_bits<uint32_t>(), random_bits<uint64_t>()});
  CHECK(x.d == x.a);
  for (const auto& [name, compare] : std::initializer_list<std::pair<const char*, bool (*)(int32_t, int32_t)>>{
           {"lt", [](int32_t a, int32_t b) { return a < b; }},
           {"ge", [](int32_t a, int32_t b) { return a >= b; }},
           {"ne", [](int32_t a, int32_t b) { return a != b; }}}) {
    const auto y = run_lanes(std::string("setp.") + name + ".s32 %p2, %a, %b; selp.b32 %d, %a, %c, %p2;",
                             Lanes<int32_t, int32_t, int32_t, int32_t>{random_bits<int32_t>(), random_bits<int32_t>(),
                                                                       random_bits<int32_t>(), random_bits<int32_t>()});
    for (int l = 0; l < 32; ++l) CHECK(y.d[l] == (compare(y.a[l], y.b[l]) ? y.a[l] : y.c[l]));
  }
}

TEST_CASE("setp combines with a predicate, and gives the opposite too") {
  const auto y = run_lanes(
      "setp.lt.u32 %p1, %a, %b; setp.gt.and.u32 %p2|%p3, %a, 7, !%p1; selp.u32 %d, 1, 0, %p2; @%p3 add.u32 %d, %d, 2;",
      Lanes<uint32_t, uint32_t, uint32_t, uint32_t>{random_bits<uint32_t>(), random_bits<uint32_t>(),
                                                    random_bits<uint32_t>(), random_bits<uint32_t>()});
  for (int l = 0; l < 32; ++l) {
    const bool other = !(y.a[l] < y.b[l]), greater = y.a[l] > 7;
    CHECK(y.d[l] == (greater && other) + 2u * (!greater && other));
  }
}

TEST_CASE("carries, dot products of bytes, the position of the highest bit") {
  const Lanes<uint32_t, uint32_t, uint32_t, uint32_t> x{random_bits<uint32_t>(), random_bits<uint32_t>(),
                                                        random_bits<uint32_t>(), random_bits<uint32_t>()};
  const auto sum = run_lanes("add.cc.u32 %r1, %a, %b; addc.u32 %d, %c, 5;", x);
  const auto difference = run_lanes("sub.cc.u32 %r1, %a, %b; subc.u32 %d, %c, 5;", x);
  const auto product = run_lanes("mad.lo.cc.u32 %r1, %a, %b, %c; madc.hi.u32 %d, %a, %b, 5;", x);
  for (int l = 0; l < 32; ++l) {
    const uint64_t a = x.a[l], b = x.b[l], c = x.c[l];
    CHECK(sum.d[l] == static_cast<uint32_t>(c + 5 + ((a + b) >> 32)));
    CHECK(difference.d[l] == static_cast<uint32_t>(c - 5 - (a < b)));
    CHECK(product.d[l] == static_cast<uint32_t>((a * b + c + (uint64_t{5} << 32)) >> 32));
  }
  check_bits<uint32_t, uint32_t, uint32_t, uint32_t>(
      "dp4a.s32.u32 %d, %a, %b, %c;", [](uint32_t a, uint32_t b, uint32_t c) {
        for (int i = 0; i < 32; i += 8)
          c += static_cast<uint32_t>(static_cast<int8_t>(a >> i) * static_cast<int>(b >> i & 255));
        return c;
      });
  check_bits<uint32_t, uint32_t, uint32_t, uint32_t>(
      "bfind.u32 %d, %a;", [](uint32_t a, uint32_t, uint32_t) { return a ? 31u - std::countl_zero(a) : ~0u; });
  check_bits<uint32_t, uint32_t, uint32_t, uint32_t>("bfind.shiftamt.s32 %d, %a;", [](uint32_t a, uint32_t, uint32_t) {
    const uint32_t m = a >> 31 ? ~a : a;
    return m ? static_cast<uint32_t>(std::countl_zero(m)) : ~0u;
  });
}

}  // namespace
}  // namespace emulator::test

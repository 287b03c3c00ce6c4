// ldmatrix and mma.sync alone: fragments as the PTX ISA's tables lay them out, against plain loops over random
// matrices.
#include <cmath>
#include <limits>

#include "emulator/tests/support.h"

namespace emulator::test {
namespace {

/// One warp; registers come from and go to memory as [register][lane].
std::string load_registers(const std::string& name, const std::string& pointer, int count) {
  std::string text;
  for (int r = 0; r < count; ++r) {
    text += "mad.wide.u32 %rd9, %r0, 4, " + pointer + ";\nld.global.b32 " + name + std::to_string(r) + ", [%rd9+" +
            std::to_string(r * 128) + "];\n";
  }
  return text;
}
std::string store_registers(const std::string& name, int count) {
  std::string text = "mad.wide.u32 %rd9, %r0, 4, %rd3;\n";
  for (int r = 0; r < count; ++r) {
    text += "st.global.b32 [%rd9+" + std::to_string(r * 128) + "], " + name + std::to_string(r) + ";\n";
  }
  return text;
}
std::string list(const std::string& name, int count) {
  std::string text = "{";
  for (int r = 0; r < count; ++r) text += (r ? ", " : "") + name + std::to_string(r);
  return text + "}";
}

enum class Format { kHalf, kBrain, kTf32 };

/// Small multiples of 1/8: exact in every format, and so are their sums.
float small() { return static_cast<float>(static_cast<int>(generator()() % 65) - 32) / 8; }

uint32_t bits_of(float value, Format format) {
  if (format == Format::kBrain) return bf16_bits(value);
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if (format == Format::kTf32) return bits;
  if (value == 0) return 0;
  return (bits >> 16 & 0x8000) | (((bits & 0x7fffffff) >> 13) - (112 << 10));
}

struct Shape {
  int k;
  Format format;
  bool half_accumulator;
  const char* opcode;
};

/// Where the tables of the PTX ISA say that element (row, column) lies: {register, lane, half of the register}.
struct Place {
  int reg, lane, half;
};
Place place_a(const Shape& s, int row, int k) {
  if (s.format == Format::kTf32) return {(row >= 8) + (k >= 4) * 2, row % 8 * 4 + k % 4, 0};
  return {(row >= 8) + (k >= 8) * 2, row % 8 * 4 + k % 8 / 2, k % 2};
}
Place place_b(const Shape& s, int k, int column) {
  if (s.format == Format::kTf32) return {k >= 4, column * 4 + k % 4, 0};
  return {k >= 8, column * 4 + k % 8 / 2, k % 2};
}
Place place_c(const Shape& s, int row, int column) {
  const int lane = row % 8 * 4 + column / 2;
  return s.half_accumulator ? Place{row >= 8, lane, column % 2} : Place{(row >= 8) * 2 + column % 2, lane, 0};
}

void put(std::vector<uint32_t>& registers, Place p, uint32_t bits) {
  registers[p.reg * 32 + p.lane] |= bits << (p.half * 16);
}

void check_mma(const Shape& s) {
  CAPTURE(std::string(s.opcode));
  float a[16][16], b[16][8], c[16][8];
  std::vector<uint32_t> a_bits(4 * 32), b_bits(2 * 32), c_bits(4 * 32);
  const Format accumulator = s.half_accumulator ? Format::kHalf : Format::kTf32;
  for (int m = 0; m < 16; ++m) {
    for (int k = 0; k < s.k; ++k) put(a_bits, place_a(s, m, k), bits_of(a[m][k] = small(), s.format));
    for (int n = 0; n < 8; ++n) put(c_bits, place_c(s, m, n), bits_of(c[m][n] = small(), accumulator));
  }
  for (int k = 0; k < s.k; ++k) {
    for (int n = 0; n < 8; ++n) put(b_bits, place_b(s, k, n), bits_of(b[k][n] = small(), s.format));
  }
  const bool wide = s.k == 16 || s.format == Format::kTf32;
  const int registers = s.half_accumulator ? 2 : 4;
  const std::string body =
      load_registers("%r1", "%rd0", 4) + load_registers("%r2", "%rd1", 2) + load_registers("%r3", "%rd2", 4) +
      "mma.sync.aligned." + s.opcode + " " + list("%r4", registers) + ", " + list("%r1", wide ? 4 : 2) + ", " +
      list("%r2", wide ? 2 : 1) + ", " + list("%r3", registers) + ";\n" + store_registers("%r4", registers);
  DeviceMemory memory;
  const uint64_t out = memory.allocate(4 * 32 * 4);
  Arguments arguments;
  arguments << upload(memory, a_bits) << upload(memory, b_bits) << upload(memory, c_bits) << out;
  const Report report = run(kernel(body), {.grid = {}, .block = {32}}, arguments, memory);
  CHECK(report.errors.empty());
  CHECK(report.counters.tensor_flops == 16 * 8 * 2u * s.k);
  const auto d = download<uint32_t>(memory, out, 4 * 32);
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 8; ++n) {
      float sum = c[m][n];
      for (int k = 0; k < s.k; ++k) sum += a[m][k] * b[k][n];
      const Place p = place_c(s, m, n);
      const uint32_t got = d[p.reg * 32 + p.lane] >> (p.half * 16) & (s.half_accumulator ? 0xffff : 0xffffffff);
      if (s.half_accumulator && std::abs(sum) > 32) continue;  // multiples of 1/64 are exact up to here
      CHECK(got == bits_of(sum, accumulator));
    }
  }
}

TEST_CASE("mma.sync multiplies matrices laid out as the tables say") {
  for (int round = 0; round < 3; ++round) {
    check_mma({16, Format::kBrain, false, "m16n8k16.row.col.f32.bf16.bf16.f32"});
    check_mma({16, Format::kHalf, false, "m16n8k16.row.col.f32.f16.f16.f32"});
    check_mma({8, Format::kBrain, false, "m16n8k8.row.col.f32.bf16.bf16.f32"});
    check_mma({8, Format::kHalf, false, "m16n8k8.row.col.f32.f16.f16.f32"});
    check_mma({8, Format::kTf32, false, "m16n8k8.row.col.f32.tf32.tf32.f32"});
    check_mma({16, Format::kHalf, true, "m16n8k16.row.col.f16.f16.f16.f16"});
    check_mma({8, Format::kHalf, true, "m16n8k8.row.col.f16.f16.f16.f16"});
  }
}

/// Rows of numbers of type T, as the registers of a lane hold them: `pack` in a row, then the next register's.
template <class T>
std::vector<uint32_t> words_of(const std::vector<T>& numbers) {
  std::vector<uint32_t> words(numbers.size() * sizeof(T) / 4);
  std::memcpy(words.data(), numbers.data(), numbers.size() * sizeof(T));
  return words;
}

template <class T>
T any_number() {
  return static_cast<T>(static_cast<int64_t>(generator()()) % 1000);
}

/// For integers and doubles; the tables place element (row, k) of A and B alike, in packs of `pack`.
template <class A, class B, class Sum>
void check_wide(int rows, int depth, const std::string& types, bool saturate) {
  CAPTURE(types);
  const int pack = sizeof(A) == 1 ? 4 : 1, lanes = 32, row_registers = rows / 8, k_registers = depth / (4 * pack);
  std::vector<A> a(static_cast<size_t>(rows) * depth);
  std::vector<B> b(static_cast<size_t>(8) * depth);
  std::vector<Sum> c(static_cast<size_t>(rows) * 8), d(c.size());
  const int words = sizeof(Sum) / 4, registers_a = row_registers * k_registers, registers_c = 2 * row_registers;
  const auto place = [&](int row, int k, int registers) {
    const int reg = row / 8 + k / (4 * pack) * registers;
    return (static_cast<size_t>(reg) * lanes + row % 8 * 4 + k % (4 * pack) / pack) * pack + k % pack;
  };
  const auto place_sum = [&](int row, int column) {
    return static_cast<size_t>(row / 8 * 2 + column % 2) * lanes + row % 8 * 4 + column / 2;
  };
  for (A& x : a) x = any_number<A>();
  for (B& x : b) x = any_number<B>();
  for (Sum& x : c) x = saturate ? std::numeric_limits<Sum>::max() - any_number<uint8_t>() : any_number<Sum>();
  const std::string type = words == 2 ? "b64" : "b32", name = words == 2 ? "%rd" : "%r";
  const auto move = [&](const std::string& first, const std::string& pointer, int count, bool load) {
    std::string text = "mad.wide.u32 %rd9, %r0, " + std::to_string(words * 4) + ", " + pointer + ";\n";
    for (int r = 0; r < count; ++r) {
      const std::string at = "[%rd9+" + std::to_string(r * lanes * words * 4) + "]", reg = first + std::to_string(r);
      text += load ? "ld.global." + type + " " + reg + ", " + at + ";\n"
                   : "st.global." + type + " " + at + ", " + reg + ";\n";
    }
    return text;
  };
  DeviceMemory memory;
  const uint64_t out = memory.allocate(d.size() * sizeof(Sum));
  Arguments arguments;
  arguments << upload(memory, words_of(a)) << upload(memory, words_of(b)) << upload(memory, words_of(c)) << out;
  const std::string shape = "m" + std::to_string(rows) + "n8k" + std::to_string(depth) + ".row.col.";
  const Report report =
      run(kernel(move(name + "1", "%rd0", registers_a, true) + move(name + "2", "%rd1", k_registers, true) +
                 move(name + "3", "%rd2", registers_c, true) + "mma.sync.aligned." + shape + types + " " +
                 list(name + "4", registers_c) + ", " + list(name + "1", registers_a) + ", " +
                 list(name + "2", k_registers) + ", " + list(name + "3", registers_c) + ";\n" +
                 move(name + "4", "%rd3", registers_c, false)),
          {.grid = {}, .block = {32}}, arguments, memory);
  for (const auto& error : report.errors) FAIL_CHECK(error);
  CHECK(report.counters.tensor_flops == static_cast<uint64_t>(rows) * 8 * 2 * depth);
  d = download<Sum>(memory, out, d.size());
  for (int m = 0; m < rows; ++m) {
    for (int n = 0; n < 8; ++n) {
      auto sum = static_cast<double>(c[place_sum(m, n)]);
      for (int k = 0; k < depth; ++k) sum += double(a[place(m, k, row_registers)]) * double(b[place(n, k, 1)]);
      if (saturate) sum = std::min(sum, static_cast<double>(std::numeric_limits<Sum>::max()));
      CHECK(static_cast<double>(d[place_sum(m, n)]) == sum);
    }
  }
}

TEST_CASE("mma.sync of bytes and of doubles") {
  check_wide<int8_t, int8_t, int32_t>(16, 16, "s32.s8.s8.s32", false);
  check_wide<int8_t, uint8_t, int32_t>(16, 32, "s32.s8.u8.s32", false);
  check_wide<uint8_t, int8_t, int32_t>(16, 32, "satfinite.s32.u8.s8.s32", false);
  check_wide<uint8_t, uint8_t, int32_t>(16, 32, "satfinite.s32.u8.u8.s32", true);
  check_wide<double, double, double>(8, 4, "f64.f64.f64.f64", false);
}

/// Rows lie 48 bytes apart, in an order of their own; lane 8 m + r points to row r of matrix m.
void check_ldmatrix(int count, bool transposed, const std::string& space) {
  std::vector<uint16_t> matrices(static_cast<size_t>(count) * 64);
  for (auto& x : matrices) x = static_cast<uint16_t>(generator()());
  std::vector<uint32_t> slots(32);
  for (uint32_t l = 0; l < 32; ++l) slots[l] = (l * 5 + 3) % 32;
  const std::string opcode =
      "ldmatrix.sync.aligned.m8n8.x" + std::to_string(count) + (transposed ? ".trans" : "") + space + ".b16 ";
  const std::string pointer = space.empty() ? "%rd8" : "%r1";  // a generic address, or one in shared memory
  const std::string body =
      "mad.wide.u32 %rd9, %r0, 4, %rd1; ld.global.b32 %r1, [%rd9]; mul.lo.u32 %r1, %r1, 48; mov.u32 %r2, s; add.u32 "
      "%r1, %r1, %r2;"
      "mad.wide.u32 %rd9, %r0, 16, %rd0; setp.lt.u32 %p1, %r0, " +
      std::to_string(8 * count) +
      ";"
      "@%p1 ld.global.v4.b32 {%r10, %r11, %r12, %r13}, [%rd9]; @%p1 st.shared.v4.b32 [%r1], {%r10, %r11, %r12, %r13};"
      "bar.warp.sync 0xffffffff; cvt.u64.u32 %rd8, %r1; cvta.shared.u64 %rd8, %rd8;" +
      opcode + list("%r4", count) + ", [" + pointer + "];\n" + store_registers("%r4", count);
  DeviceMemory memory;
  const uint64_t out = memory.allocate(count * 128);
  Arguments arguments;
  arguments << upload(memory, matrices) << upload(memory, slots) << uint64_t{0} << out;
  const Report report =
      run(kernel(body, ".shared .align 16 .b8 s[1536];\n"), {.grid = {}, .block = {32}}, arguments, memory);
  for (const auto& error : report.errors) FAIL_CHECK(error);
  const auto d = download<uint32_t>(memory, out, count * 32);
  for (int m = 0; m < count; ++m) {
    const auto at = [&](int row, int column) { return matrices[m * 64 + row * 8 + column]; };
    for (int l = 0; l < 32; ++l) {
      const int major = l / 4, minor = l % 4 * 2;
      const uint16_t low = transposed ? at(minor, major) : at(major, minor);
      const uint16_t high = transposed ? at(minor + 1, major) : at(major, minor + 1);
      CHECK(d[m * 32 + l] == (low | uint32_t{high} << 16));
    }
  }
}

TEST_CASE("ldmatrix hands out rows, or columns, as the tables say") {
  for (int count : {1, 2, 4}) {
    check_ldmatrix(count, false, ".shared");
    check_ldmatrix(count, true, ".shared");
    check_ldmatrix(count, true, "");
  }
}

}  // namespace
}  // namespace emulator::test

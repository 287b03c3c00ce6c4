// What the tests share: kernels written as a few lines of PTX, random inputs, launches with a tuple of arguments.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "emulator/machine/machine.h"

namespace emulator::test {

/// Device memory with the contents of a vector.
template <class T>
uint64_t upload(DeviceMemory& memory, const std::vector<T>& values) {
  const uint64_t address = memory.allocate(values.size() * sizeof(T));
  std::memcpy(memory.host(address, values.size() * sizeof(T)), values.data(), values.size() * sizeof(T));
  return address;
}

template <class T>
std::vector<T> download(const DeviceMemory& memory, uint64_t address, size_t count) {
  const T* from = static_cast<const T*>(memory.host(address, count * sizeof(T)));
  return std::vector<T>(from, from + count);
}

/// The parameter block of a kernel, built argument by argument.
class Arguments {
 public:
  template <class T>
  Arguments& operator<<(T value) {
    const size_t at = (bytes_.size() + sizeof(T) - 1) / sizeof(T) * sizeof(T);
    bytes_.resize(at + sizeof(T));
    std::memcpy(&bytes_[at], &value, sizeof(T));
    return *this;
  }
  const void* data() const { return bytes_.data(); }

 private:
  std::vector<unsigned char> bytes_;
};

inline std::string header() { return ".version 8.0\n.target sm_80\n.address_size 64\n"; }

/// Kernel `k`: pointers to memory of any kind as parameters p0 to p3, some registers, and the body.
inline std::string kernel(const std::string& body, const std::string& declarations = "") {
  return header() + declarations +
         ".visible .entry k(.param .u64 p0, .param .u64 p1, .param .u64 p2, .param .u64 p3)\n{\n"
         ".reg .pred %p<16>;\n.reg .b16 %h<32>;\n.reg .b32 %r<64>;\n.reg .f32 %f<64>;\n.reg .b64 %rd<64>;\n.reg .f64 "
         "%fd<16>;\n"
         "ld.param.u64 %rd0, [p0];\nld.param.u64 %rd1, [p1];\nld.param.u64 %rd2, [p2];\nld.param.u64 %rd3, [p3];\n"
         "mov.u32 %r0, %tid.x;\n" +
         body + "\nret;\n}\n";
}

inline Report run(const std::string& ptx, const LaunchConfig& config, const Arguments& arguments,
                  DeviceMemory& memory) {
  return launch(*Module::parse(ptx), "k", config, arguments.data(), memory);
}

/// Applies `instruction` ("add.s32 %d, %a, %b;" over registers of width bits) to lanes of random bits; 32 lanes of
/// three sources and one result. Half of the lanes are switched off to see that they keep what they had.
template <class D, class A = D, class B = A, class C = B>
struct Lanes {
  std::vector<A> a;
  std::vector<B> b;
  std::vector<C> c;
  std::vector<D> d;
};

template <class T>
std::string register_type() {
  return sizeof(T) == 2 ? ".b16" : sizeof(T) == 4 ? ".b32" : ".b64";
}
template <class T>
std::string load_type() {
  return sizeof(T) == 2 ? "b16" : sizeof(T) == 4 ? "b32" : "b64";
}

/// Runs the instruction on 32 lanes; d starts as the complement of what lanes that are off must keep.
template <class D, class A, class B, class C>
Lanes<D, A, B, C> run_lanes(const std::string& instruction, Lanes<D, A, B, C> x) {
  const auto load = [](const char* name, const char* pointer, size_t size, const std::string& type) {
    return "mad.wide.u32 %rd9, %r0, " + std::to_string(size) + ", " + pointer + ";\nld.global." + type + " " + name +
           ", [%rd9];\n";
  };
  const std::string body =
      ".reg " + register_type<A>() + " %a;\n.reg " + register_type<B>() + " %b;\n.reg " + register_type<C>() +
      " %c;\n.reg " + register_type<D>() + " %d;\n" + load("%a", "%rd0", sizeof(A), load_type<A>()) +
      load("%b", "%rd1", sizeof(B), load_type<B>()) + load("%c", "%rd2", sizeof(C), load_type<C>()) +
      load("%d", "%rd3", sizeof(D), load_type<D>()) + instruction + "\nmad.wide.u32 %rd9, %r0, " +
      std::to_string(sizeof(D)) + ", %rd3;\nst.global." + load_type<D>() + " [%rd9], %d;";
  DeviceMemory memory;
  const uint64_t d = upload(memory, x.d);
  Arguments arguments;
  arguments << upload(memory, x.a) << upload(memory, x.b) << upload(memory, x.c) << d;
  const Report report = run(kernel(body), {.grid = {}, .block = {32}}, arguments, memory);
  for (const auto& error : report.errors) FAIL_CHECK(error);
  x.d = download<D>(memory, d, 32);
  return x;
}

inline std::mt19937_64& generator() {
  static std::mt19937_64 random(20240601);
  return random;
}

/// Random bits, with the values that break things strewn in.
template <class T>
std::vector<T> random_bits() {
  std::vector<T> all(32);
  const uint64_t special[] = {0, 1, ~uint64_t{0}, uint64_t{1} << (sizeof(T) * 8 - 1), 31, 32, 33, 2};
  for (T& x : all) {
    const uint64_t bits = generator()() % 4 == 0 ? special[generator()() % 8] : generator()();
    std::memcpy(&x, &bits, sizeof(T));
  }
  return all;
}

inline std::vector<float> random_floats(size_t count, float scale = 1.f) {
  std::vector<float> all(count);
  std::normal_distribution<float> normal(0.f, scale);
  for (float& x : all) x = normal(generator());
  return all;
}

template <class T>
bool same_bits(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

/// The instruction on random bits equals f on each lane, with all lanes and with every third one.
template <class D, class A, class B, class C, class F>
void check_bits(const std::string& instruction, F f) {
  CAPTURE(instruction);
  for (int round = 0; round < 8; ++round) {
    Lanes<D, A, B, C> x{random_bits<A>(), random_bits<B>(), random_bits<C>(), random_bits<D>()};
    const bool some = round % 2;
    const std::string text = some ? "rem.u32 %r1, %r0, 3;\nsetp.eq.u32 %p1, %r1, 0;\n@%p1 " + instruction : instruction;
    const auto y = run_lanes(text, x);
    for (int l = 0; l < 32; ++l) {
      CAPTURE(l);
      const D expected = some && l % 3 ? x.d[l] : f(x.a[l], x.b[l], x.c[l]);
      CHECK(same_bits(y.d[l], expected));
    }
  }
}

inline bool mentions(const Report& report, const std::string& text) {
  return std::any_of(report.errors.begin(), report.errors.end(),
                     [&](const std::string& error) { return error.find(text) != std::string::npos; });
}

inline float bf16_value(uint16_t bits) {
  const uint32_t wide = uint32_t{bits} << 16;
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}
inline uint16_t bf16_bits(float value) {  // to nearest even; no NaN
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace emulator::test

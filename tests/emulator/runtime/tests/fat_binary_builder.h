// A fat binary made by hand, as nvcc lays it out; see ../fat_binary.cpp.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

struct FatBinary {
  std::string bytes;
  struct {
    uint32_t magic = 0x466243b1, version = 1;
    const void* binary = nullptr;
    const void* unused = nullptr;
  } wrapper;

  FatBinary() {
    number(uint32_t{0xba55ed50});
    number(uint16_t{1});
    number(uint16_t{16});
    number(uint64_t{0});
  }

  template <class T>
  void number(T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  }

  void entry(uint16_t kind, uint32_t architecture, uint64_t flags, const std::string& payload) {
    const size_t padded = (payload.size() + 8) / 8 * 8;
    number(kind);
    number(uint16_t{0x101});
    number(uint32_t{64});
    number(uint64_t{padded});
    number(uint64_t{0});
    number(uint32_t{0x00090000});
    number(architecture);
    number(uint64_t{0});
    number(flags);
    number(uint64_t{0});
    number(uint64_t{0});
    bytes += payload;
    bytes.append(padded - payload.size(), '\0');
    const uint64_t all = bytes.size() - 16;
    std::memcpy(bytes.data() + 8, &all, sizeof all);
  }

  const void* wrap() {
    wrapper.binary = bytes.data();
    return &wrapper;
  }
};

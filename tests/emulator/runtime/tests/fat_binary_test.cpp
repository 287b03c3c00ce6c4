// Fat binaries, built here byte by byte: good, compressed, without PTX, cut short.
#include "emulator/runtime/fat_binary.h"

#include <cstdint>
#include <cstring>

#include "emulator/runtime/failure.h"
#include "support.h"

using emulator::runtime::best_image;
using emulator::runtime::Failure;
using emulator::runtime::ptx_images;

namespace {

struct FatBinary {
  std::vector<uint8_t> bytes;
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
    const auto* from = reinterpret_cast<const uint8_t*>(&value);
    bytes.insert(bytes.end(), from, from + sizeof value);
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
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    bytes.resize(bytes.size() + padded - payload.size());
    const uint64_t all = bytes.size() - 16;
    std::memcpy(bytes.data() + 8, &all, sizeof all);
  }

  const void* wrap() {
    wrapper.binary = bytes.data();
    return &wrapper;
  }

  void check_refused(cudaError_t code, const std::string& words) {
    try {
      ptx_images(wrap());
      FAIL("expected a failure: ", words);
    } catch (const Failure& failure) {
      CHECK(failure.code == code);
      CHECK_MESSAGE(failure.text.find(words) != std::string::npos, failure.text);
      CHECK(failure.text.find("--no-compress") != std::string::npos);
    }
  }
};

}  // namespace

TEST_CASE("the PTX for a device is the newest that is not newer than it") {
  FatBinary fat;
  fat.entry(2, 80, 0x11, "machine code");
  fat.entry(1, 80, 0x11, "\n\n.version 9.0");
  fat.entry(1, 90, 0x11, "ninety!!");
  const auto images = ptx_images(fat.wrap());
  REQUIRE(images.size() == 2);
  CHECK(images[0].text == "\n\n.version 9.0");
  CHECK(images[1].text == "ninety!!");
  CHECK(best_image(images, 75) == nullptr);
  CHECK(best_image(images, 80)->architecture == 80);
  CHECK(best_image(images, 89)->architecture == 80);
  CHECK(best_image(images, 90)->architecture == 90);
}

TEST_CASE("fat binaries that cannot be used say how to compile") {
  for (const uint64_t compressed : {0x2000, 0x8000}) {
    FatBinary fat;
    fat.entry(1, 80, 0x11 | compressed, "xyz");
    fat.check_refused(cudaErrorInvalidKernelImage, "compressed");
  }
  FatBinary machine_code;
  machine_code.entry(2, 80, 0x11, "machine code");
  machine_code.check_refused(cudaErrorNoKernelImageForDevice, "no PTX");
  FatBinary cut;
  cut.entry(1, 80, 0x11, "12345678");
  cut.bytes[8] -= 8;
  cut.check_refused(cudaErrorInvalidKernelImage, "cut short");
  FatBinary wrong_wrapper;
  wrong_wrapper.entry(1, 80, 0x11, "x");
  wrong_wrapper.wrapper.magic = 1;
  wrong_wrapper.check_refused(cudaErrorInvalidKernelImage, "wrapper");
  FatBinary wrong_header;
  wrong_header.entry(1, 80, 0x11, "x");
  wrong_header.bytes[0] ^= 1;
  wrong_header.check_refused(cudaErrorInvalidKernelImage, "header");
}

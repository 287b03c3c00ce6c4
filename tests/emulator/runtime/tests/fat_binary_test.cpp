// Fat binaries, built here byte by byte: good, compressed, without PTX, cut short.
#include "emulator/runtime/fat_binary.h"

#include "emulator/runtime/failure.h"
#include "fat_binary_builder.h"
#include "support.h"

using emulator::runtime::best_image;
using emulator::runtime::Failure;
using emulator::runtime::ptx_images;

namespace {

void check_refused(FatBinary& fat, cudaError_t code, const std::string& words) {
  try {
    ptx_images(fat.wrap());
    FAIL("expected a failure: ", words);
  } catch (const Failure& failure) {
    CHECK(failure.code == code);
    CHECK_MESSAGE(failure.text.find(words) != std::string::npos, failure.text);
    CHECK(failure.text.find("--no-compress") != std::string::npos);
  }
}

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
  const std::vector<emulator::runtime::PtxImage> newest_first{images[1], images[0]};
  CHECK(best_image(newest_first, 90)->architecture == 90);
}

TEST_CASE("fat binaries that cannot be used say how to compile") {
  for (const uint64_t compressed : {0x2000, 0x8000}) {
    FatBinary fat;
    fat.entry(1, 80, 0x11 | compressed, "xyz");
    check_refused(fat, cudaErrorInvalidKernelImage, "compressed");
  }
  FatBinary machine_code;
  machine_code.entry(2, 80, 0x11, "machine code");
  check_refused(machine_code, cudaErrorNoKernelImageForDevice, "no PTX");
  FatBinary cut;
  cut.entry(1, 80, 0x11, "12345678");
  cut.bytes[8] -= 8;
  check_refused(cut, cudaErrorInvalidKernelImage, "cut short");
  FatBinary wrong_wrapper;
  wrong_wrapper.entry(1, 80, 0x11, "x");
  wrong_wrapper.wrapper.magic = 1;
  check_refused(wrong_wrapper, cudaErrorInvalidKernelImage, "wrapper");
  FatBinary wrong_header;
  wrong_header.entry(1, 80, 0x11, "x");
  wrong_header.bytes[0] ^= 1;
  check_refused(wrong_header, cudaErrorInvalidKernelImage, "header");
}

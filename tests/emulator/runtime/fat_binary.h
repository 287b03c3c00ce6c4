// Finds the PTX in what nvcc embeds in a host object file.
#pragma once

#include <string>
#include <vector>

namespace emulator::runtime {

struct PtxImage {
  int architecture;  // 80 for sm_80
  std::string text;
};

/// The PTX images that the wrapper passed to __cudaRegisterFatBinary leads to, in the order they lie in.
/// Throws Failure with cudaErrorInvalidKernelImage (no fat binary, or cut short, or compressed) or
/// cudaErrorNoKernelImageForDevice (machine code alone).
std::vector<PtxImage> ptx_images(const void* wrapper);

/// The image a driver would compile for the device: the newest that is not newer than the device; null if there is
/// none.
const PtxImage* best_image(const std::vector<PtxImage>& images, int compute_capability);

}  // namespace emulator::runtime

// The layout, as nvcc 13 writes it (little endian; seen in its output, since it is not documented):
//
//     wrapper   u32 magic 0x466243b1, u32 version, u64 address of the fat binary, u64 unused
//     binary    u32 magic 0xba55ed50, u16 version, u16 header bytes (16), u64 bytes of all entries
//     entry     u16 kind (1: PTX, 2: machine code), u16 version, u32 header bytes, u64 payload bytes (padded),
//               u32 compressed bytes, u32, u16 x 2 ISA version, u32 architecture, u64, u64 flags, u64,
//               u64 bytes before compression; then the payload
//
// The payload of an uncompressed PTX entry is text, padded with line ends in front and zeros behind.
#include "emulator/runtime/fat_binary.h"

#include <cstdint>
#include <cstring>

#include "emulator/runtime/failure.h"

namespace emulator::runtime {
namespace {

constexpr uint32_t kWrapperMagic = 0x466243b1, kBinaryMagic = 0xba55ed50;
constexpr uint16_t kPtxKind = 1;
constexpr uint64_t kLz4Flag = 0x2000, kZstdFlag = 0x8000;
constexpr const char* kHowToCompile = "compile with -gencode arch=compute_80,code=compute_80 --no-compress";

struct Wrapper {
  uint32_t magic, version;
  const void* binary;
};

struct BinaryHeader {
  uint32_t magic;
  uint16_t version, header_bytes;
  uint64_t payload_bytes;
};

struct EntryHeader {
  uint16_t kind, version;
  uint32_t header_bytes;
  uint64_t payload_bytes;
  uint32_t compressed_bytes, unknown0;
  uint16_t minor, major;
  uint32_t architecture;
  uint64_t unknown1, flags, unknown2, uncompressed_bytes;
};
static_assert(sizeof(BinaryHeader) == 16 && sizeof(EntryHeader) == 64);

template <class T>
T read(const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

[[noreturn]] void refuse(cudaError_t code, const std::string& what) {
  throw Failure{code, "fat binary: " + what + "; " + kHowToCompile};
}

PtxImage ptx_image(const EntryHeader& entry, const uint8_t* payload) {
  if ((entry.flags & (kLz4Flag | kZstdFlag)) != 0 || entry.uncompressed_bytes != 0) {
    refuse(cudaErrorInvalidKernelImage, "its PTX is compressed");
  }
  const char* text = reinterpret_cast<const char*>(payload);
  return {static_cast<int>(entry.architecture), std::string(text, strnlen(text, entry.payload_bytes))};
}

}  // namespace

std::vector<PtxImage> ptx_images(const void* wrapper) {
  const auto outer = read<Wrapper>(static_cast<const uint8_t*>(wrapper));
  if (outer.magic != kWrapperMagic) refuse(cudaErrorInvalidKernelImage, "the wrapper has an unknown magic number");
  const auto* binary = static_cast<const uint8_t*>(outer.binary);
  const auto header = read<BinaryHeader>(binary);
  if (header.magic != kBinaryMagic) refuse(cudaErrorInvalidKernelImage, "the header has an unknown magic number");

  std::vector<PtxImage> images;
  const uint8_t* at = binary + header.header_bytes;
  const uint8_t* const end = at + header.payload_bytes;
  while (at < end) {
    const auto left = static_cast<uint64_t>(end - at);
    const auto entry = left >= sizeof(EntryHeader) ? read<EntryHeader>(at) : EntryHeader{};
    if (entry.header_bytes < sizeof(EntryHeader) || entry.header_bytes > left ||
        entry.payload_bytes > left - entry.header_bytes) {
      refuse(cudaErrorInvalidKernelImage, "an entry is cut short");
    }
    if (entry.kind == kPtxKind) images.push_back(ptx_image(entry, at + entry.header_bytes));
    at += entry.header_bytes + entry.payload_bytes;
  }
  if (images.empty()) refuse(cudaErrorNoKernelImageForDevice, "it holds no PTX");
  return images;
}

const PtxImage* best_image(const std::vector<PtxImage>& images, int compute_capability) {
  const PtxImage* best = nullptr;
  for (const PtxImage& image : images) {
    const bool runs = image.architecture <= compute_capability;
    if (runs && (best == nullptr || image.architecture > best->architecture)) best = &image;
  }
  return best;
}

}  // namespace emulator::runtime

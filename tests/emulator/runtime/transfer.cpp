#include "emulator/runtime/transfer.h"

#include <cstring>
#include <utility>
#include <vector>

namespace emulator::runtime {
namespace {

struct Sides {
  Space from, to;
};

bool is_host(Space space) { return space != Space::kDevice; }

Sides check_sides(const Allocations& allocations, const Copy& c) {
  const Sides sides{allocations.space_of(c.from), allocations.space_of(c.to)};
  const bool any = c.kind == cudaMemcpyDefault;
  const bool from_host = c.kind == cudaMemcpyHostToHost || c.kind == cudaMemcpyHostToDevice;
  const bool to_host = c.kind == cudaMemcpyHostToHost || c.kind == cudaMemcpyDeviceToHost;
  require(any || is_host(sides.from) == from_host, cudaErrorInvalidValue,
          "the source is not where the kind of copy says (or is freed device memory)");
  require(any || is_host(sides.to) == to_host, cudaErrorInvalidValue,
          "the target is not where the kind of copy says (or is freed device memory)");
  allocations.check_range(c.from, c.from_pitch * (c.height - 1) + c.width, sides.from);
  allocations.check_range(c.to, c.to_pitch * (c.height - 1) + c.width, sides.to);
  return sides;
}

/// Device memory may have been freed between the call and the copy; a real device stops there too.
void* reach(const void* address, size_t bytes, Space space) {
  if (space == Space::kPageable) return const_cast<void*>(address);
  try {
    return Context::get().device->allocations.memory().host(reinterpret_cast<uint64_t>(address), bytes);
  } catch (const MemoryFault& fault) {
    Context::get().device->sticky = cudaErrorIllegalAddress;
    throw Failure{cudaErrorIllegalAddress, std::string("a queued copy or fill: ") + fault.what()};
  }
}

void copy_rows(const Copy& c, Sides sides) {
  for (size_t row = 0; row < c.height; ++row) {
    std::memmove(reach(static_cast<std::byte*>(c.to) + row * c.to_pitch, c.width, sides.to),
                 reach(static_cast<const std::byte*>(c.from) + row * c.from_pitch, c.width, sides.from), c.width);
  }
}

std::vector<std::byte> staged_rows(const Copy& c) {
  std::vector<std::byte> staged(c.width * c.height);
  for (size_t row = 0; row < c.height; ++row) {
    std::memcpy(staged.data() + row * c.width, static_cast<const std::byte*>(c.from) + row * c.from_pitch, c.width);
  }
  return staged;
}

}  // namespace

void copy(Device& device, const Copy& c, cudaStream_t handle, Wait wait) {
  Stream& stream = device.streams.stream(handle);
  require(static_cast<unsigned>(c.kind) <= cudaMemcpyDefault, cudaErrorInvalidMemcpyDirection, "the kind of copy");
  if (c.width == 0 || c.height == 0) return;
  require(c.width <= c.to_pitch && c.width <= c.from_pitch, cudaErrorInvalidPitchValue, "rows wider than the pitch");
  require(c.to != nullptr && c.from != nullptr, cudaErrorInvalidValue, "a null pointer");
  const Sides sides = check_sides(device.allocations, c);
  const bool queued = wait == Wait::kNo && sides.to != Space::kPageable;
  if (queued && sides.from == Space::kPageable && stream.capture == nullptr) {
    device.streams.enqueue(stream, [c, sides, staged = staged_rows(c)] {
      Copy from_staged = c;
      from_staged.from = staged.data();
      from_staged.from_pitch = c.width;
      copy_rows(from_staged, sides);
    });
    return;
  }
  device.streams.enqueue(stream, [c, sides] { copy_rows(c, sides); });
  // A copy inside the device is never waited for, even by cudaMemcpy.
  const bool reaches_host = is_host(sides.from) || is_host(sides.to);
  if (!queued && reaches_host && stream.capture == nullptr) device.streams.finish(stream);
}

void fill(Device& device, void* to, int byte, size_t bytes, cudaStream_t handle, Wait wait) {
  Stream& stream = device.streams.stream(handle);
  if (bytes == 0) return;
  const Space space = device.allocations.space_of(to);
  require(space != Space::kPageable, cudaErrorInvalidValue, "a fill of memory that is not the device's");
  device.allocations.check_range(to, bytes, space);
  device.streams.enqueue(stream, [=] { std::memset(reach(to, bytes, space), byte, bytes); });
  if (wait == Wait::kYes && space == Space::kPinned) device.streams.finish(stream);
}

}  // namespace emulator::runtime

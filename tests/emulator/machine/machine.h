// What the emulated machine offers: a module of PTX, device memory, and a launch that runs a kernel and reports.
//
//     auto module = emulator::Module::parse(ptx);
//     emulator::DeviceMemory memory;
//     uint64_t x = memory.allocate(1024);
//     emulator::Report report = emulator::launch(*module, "kernel", {.grid = {4}, .block = {128}}, &x, memory);
//
// Device addresses are addresses of the host, so that host code may do pointer arithmetic on them; every access of a
// kernel is checked against the table of allocations.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

namespace emulator {

struct Dim3 {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t count() const { return uint64_t{x} * y * z; }
};

/// PTX that does not parse, or holds an instruction the machine does not know; quotes the line.
class ParseError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The host touched device memory outside of any allocation, or released what it does not own.
class MemoryFault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A launch that a driver would refuse: no such kernel, a block too large, too much shared memory.
class LaunchError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// One parameter of a kernel, at `offset` in its parameter block.
struct Parameter {
  std::string name;
  size_t offset, size, alignment;
};

struct KernelInfo {
  std::string name;
  std::vector<Parameter> parameters;
  size_t static_shared = 0;   // bytes of .shared variables of fixed size
  size_t registers_hint = 0;  // virtual registers that PTX declares, which says little of what ptxas would allocate
  uint32_t max_threads = 0;   // .maxntid, or 0 where the kernel does not say
  size_t parameter_bytes() const { return parameters.empty() ? 0 : parameters.back().offset + parameters.back().size; }
};

/// A .global or .const variable of a module.
struct VariableInfo {
  std::string name;
  size_t size = 0, alignment = 1;
  bool constant = false;
};

struct ModuleContents;  // parsed and decoded; see ptx/ and machine/program.h

/// A PTX file, parsed and decoded once; immutable, shared by launches.
class Module {
 public:
  static std::shared_ptr<const Module> parse(const std::string& ptx);
  ~Module();

  const KernelInfo* find(const std::string& kernel) const;  // null if there is none
  std::vector<std::string> kernels() const;
  std::vector<VariableInfo> variables() const;
  const ModuleContents& contents() const { return *contents_; }

 private:
  Module();
  std::unique_ptr<ModuleContents> contents_;
};

/// Guarded memory. New allocations are poisoned with 0xff, which is NaN in every floating-point type.
class DeviceMemory {
 public:
  DeviceMemory();
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  uint64_t allocate(size_t bytes);                   // aligned to 256 bytes, as cudaMalloc's are; throws std::bad_alloc
  void release(uint64_t address);                    // 0 is allowed; throws MemoryFault if nothing was allocated there
  void* host(uint64_t address, size_t bytes) const;  // throws MemoryFault if outside one allocation
  bool contains(uint64_t address) const;

  /// Where a variable of the module lies; the module's variables are allocated and initialised when first asked for.
  uint64_t variable(const Module& module, const std::string& name);  // throws MemoryFault if there is none
  /// Gives back the variables of a module that goes away.
  void forget(const Module& module);

  struct Range {
    uint64_t begin, end;
  };
  std::vector<Range> ranges() const;  // every allocation, by address

 private:
  struct Block;
  uint64_t allocate_locked(size_t bytes);
  mutable std::mutex mutex_;
  std::map<uint64_t, Block> blocks_;                                    // by address
  std::map<const Module*, std::map<std::string, uint64_t>> variables_;  // by name
};

enum class InstructionClass : uint8_t {
  kInteger,
  kFloat,
  kHalf,
  kDouble,
  kSpecialFunction,
  kConvert,
  kMove,
  kPredicate,
  kControl,
  kBarrier,
  kWarp,
  kLoadGlobal,
  kStoreGlobal,
  kLoadShared,
  kStoreShared,
  kLoadOther,
  kStoreOther,
  kAtomic,
  kAsyncCopy,
  kMatrixLoad,
  kTensor,
  kCount
};
const char* name_of(InstructionClass);

/// Counted per warp instruction, whatever the number of its active lanes.
struct Counters {
  std::array<uint64_t, static_cast<size_t>(InstructionClass::kCount)> instructions{};
  uint64_t shared_wavefronts = 0, shared_wavefronts_ideal = 0;  // more than ideal: bank conflicts
  uint64_t global_sectors = 0, global_sectors_ideal = 0;        // of 32 bytes; more than ideal: not coalesced
  uint64_t global_bytes_read = 0, global_bytes_written = 0;     // whole sectors, with no cache in between
  uint64_t barriers = 0;                                        // completed, per block
  uint64_t tensor_flops = 0;                                    // of mma.sync

  uint64_t of(InstructionClass c) const { return instructions[static_cast<size_t>(c)]; }
  uint64_t total() const;
  Counters& operator+=(const Counters&);
};

struct LaunchConfig {
  Dim3 grid, block;
  size_t dynamic_shared = 0;
  uint64_t seed = 0;                       // fixes the order in which warps and blocks run
  int num_threads = 1;                     // of the host; blocks are spread over them
  uint64_t max_steps = uint64_t{1} << 34;  // warp instructions a block may run before it is said to hang
};

struct Report {
  std::vector<std::string> errors;  // one for each kind of error and instruction, with how often it happened
  Counters counters;
};

/// Runs the kernel to its end. What the kernel does wrong is in the report; a bad launch throws LaunchError.
Report launch(const Module&, const std::string& kernel, const LaunchConfig&, const void* parameter_block,
              DeviceMemory&);

}  // namespace emulator

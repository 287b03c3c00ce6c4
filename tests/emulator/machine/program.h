// A kernel as the machine runs it: decoded once, no names left. Calls are inlined, so that code is one array.
//
// A warp's register file is an array of bytes. Each virtual register owns 32 neighbours of 2, 4 or 8 bytes there, one
// per lane; a predicate owns 4 bytes, one bit per lane. Constants and special registers lie in the same file, filled in
// when a block starts, so that every source operand is just an offset.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "emulator/machine/machine.h"
#include "emulator/ptx/syntax.h"

namespace emulator {

struct Warp;
struct Instruction;
using Run = void (*)(Warp&, const Instruction&);  // for the lanes of warp.mask

constexpr uint32_t kNone = UINT32_MAX;

/// What an instruction does to the flow of its warp; everything else is in `run`.
enum class Flow : uint8_t {
  kNext,
  kAligned,   // every lane of the warp must be there
  kConverge,  // waits for the lanes that the member mask in b[0] names
  kBranch,
  kBranchIndexed,
  kExit,
  kBarrier,
  kTrap
};

struct Instruction {
  Run run = nullptr;
  uint64_t (*operation)(uint64_t old, uint64_t b, uint64_t c) = nullptr;  // of an atomic
  uint32_t d[4] = {kNone, kNone, kNone, kNone};                           // offsets into the register file
  uint32_t a[4] = {kNone, kNone, kNone, kNone};
  uint32_t b[4] = {kNone, kNone, kNone, kNone};
  uint32_t c[4] = {kNone, kNone, kNone, kNone};
  int64_t immediate = 0;   // an address's offset, a number that the instruction's text holds
  uint32_t guard = kNone;  // a predicate
  uint32_t target = kNone;
  int32_t line = 0;
  bool guard_negated = false;
  Flow flow = Flow::kNext;
  InstructionClass kind = InstructionClass::kInteger;
  ptx::StateSpace space = ptx::StateSpace::kGeneric;
  uint8_t bytes = 0;         // of one element in memory
  uint8_t count = 1;         // elements
  uint8_t mode = 0;          // means what the instruction's own file says
  bool wide_address = true;  // a[0] holds 64 bits per lane, not 32
  bool atomic = false;       // a strong or atomic access, which does not race with others of its kind
};

enum class Special : uint8_t {
  kTidX,
  kTidY,
  kTidZ,
  kNtidX,
  kNtidY,
  kNtidZ,
  kCtaidX,
  kCtaidY,
  kCtaidZ,
  kNctaidX,
  kNctaidY,
  kNctaidZ,
  kLane,
  kWarp,
  kNumWarps,
  kMaskEq,
  kMaskLe,
  kMaskLt,
  kMaskGe,
  kMaskGt,
  kDynamicShared,
  kTotalShared,
  kZero
};

struct Program {
  KernelInfo info;
  std::vector<Instruction> code;
  std::vector<std::vector<uint32_t>> branch_tables;

  uint32_t register_bytes = 0;
  std::vector<std::pair<uint32_t, uint32_t>> predicate_constants;  // (offset, bits)
  struct Constant {
    uint32_t offset, width;  // width in bytes of one lane
    uint64_t bits;
  };
  std::vector<Constant> constants;
  struct SpecialSlot {
    uint32_t offset;
    Special which;
  };
  std::vector<SpecialSlot> specials;
  struct VariableSlot {  // holds the address of a module variable, known at launch
    uint32_t offset;
    std::string name;
    int64_t addend;
  };
  std::vector<VariableSlot> variables;

  uint32_t local_bytes = 0;     // per thread
  uint32_t dynamic_shared = 0;  // where dynamic shared memory begins
  int granule_shift = 2;        // shared memory is watched in granules of 1 << shift bytes, its narrowest access
};

struct ModuleContents {
  ptx::Module syntax;
  std::map<std::string, Program> programs;
};

/// Generic addresses carry their space in the top byte; those of global memory are the host's own.
constexpr uint64_t kSharedWindow = uint64_t{1} << 56, kLocalWindow = uint64_t{2} << 56,
                   kParamWindow = uint64_t{3} << 56;

}  // namespace emulator

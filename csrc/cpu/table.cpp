#include "cpu/table.h"

#include <cstdlib>

#include "kernels/errors.h"

namespace albert_fast::cpu {

// ALBERT_FAST_VARIANTS is what CMakeLists.txt compiled, best first: VARIANT(avx2)VARIANT(portable).
#define VARIANT(name)                    \
  namespace name {                       \
  extern const Ops tables[kFloatTables]; \
  }
ALBERT_FAST_VARIANTS
#undef VARIANT
namespace portable_f64 {
extern const Ops table;
}

namespace {

struct Variant {
  const char* isa;
  const Ops* tables;  // kFloatTables of them
  bool (*runs_here)();
};

/// Whether this machine has what a variant was compiled for.
struct RunsHere {
  static bool portable() { return true; }
#if defined(__x86_64__)
  static bool avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
  static bool avx512() {
    return avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  }
  static bool avx512_vnni() { return avx512() && __builtin_cpu_supports("avx512vnni"); }
  static bool avx512_on_avx2() { return avx2(); }
#elif defined(__aarch64__)
  static bool neon() { return true; }
#endif
};

#define VARIANT(name) {#name, name::tables, RunsHere::name},
constexpr Variant kVariants[] = {ALBERT_FAST_VARIANTS};
#undef VARIANT

const Variant& find_variant(const std::string& isa, const std::string& who) {
  std::string runnable;
  for (const Variant& variant : kVariants) {
    if (!variant.runs_here()) continue;
    if (isa == variant.isa) return variant;
    runnable += std::string(runnable.empty() ? "" : ", ") + variant.isa;
  }
  throw DeviceError(who + ": got '" + isa + "', expected an instruction set this machine runs: " + runnable);
}

}  // namespace

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const Variant& variant : kVariants) {
    if (variant.runs_here()) names.emplace_back(variant.isa);
  }
  return names;
}

std::string default_isa() {
  const char* forced = std::getenv("ALBERT_FAST_CPU_ISA");
  if (forced == nullptr || *forced == '\0') return available_isas().front();
  return find_variant(forced, "ALBERT_FAST_CPU_ISA").isa;
}

const Ops& find_ops(const std::string& isa, DType dtype) {
  const Variant& variant = find_variant(isa.empty() ? default_isa() : isa, "isa");
  if (dtype == DType::kFloat64) return portable_f64::table;
  for (int i = 0; i < kFloatTables; ++i) {
    if (variant.tables[i].weight_dtype == dtype) return variant.tables[i];
  }
  throw InvalidInputError(std::string("dtype: got '") + name_of(dtype) +
                          "' for the CPU, expected 'float32', 'bfloat16', 'int16', 'int8' or 'float64'");
}

}  // namespace albert_fast::cpu

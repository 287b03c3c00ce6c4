#include "cpu/table.h"

#include <cstdlib>

#include "kernels/errors.h"

namespace albert_fast::cpu {

namespace portable {
extern const Ops tables[kFloatTables];
}
namespace portable_f64 {
extern const Ops table;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Ops tables[kFloatTables];
}
namespace avx512 {
extern const Ops tables[kFloatTables];
}
namespace avx512_vnni {
extern const Ops tables[kFloatTables];
}
namespace avx512_on_avx2 {
extern const Ops tables[kFloatTables];
}
#elif defined(__aarch64__)
namespace neon {
extern const Ops tables[kFloatTables];
}
#endif

namespace {

struct Variant {
  const char* isa;
  const Ops* tables;  // kFloatTables of them
  bool (*runs_here)();
};

bool always() { return true; }

#if defined(__x86_64__)
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
}
bool has_avx512_vnni() { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }
#endif

/// Best first.
constexpr Variant kVariants[] = {
#if defined(__x86_64__)
    {"avx512_vnni", avx512_vnni::tables, has_avx512_vnni},
    {"avx512", avx512::tables, has_avx512},
    {"avx2", avx2::tables, has_avx2},
    {"avx512_on_avx2", avx512_on_avx2::tables, has_avx2},
#elif defined(__aarch64__)
    {"neon", neon::tables, always},
#endif
    {"portable", portable::tables, always},
};

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

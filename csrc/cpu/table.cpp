#include "cpu/table.h"

#include <cstdlib>

#include "kernels/errors.h"

namespace albert_fast::cpu {

namespace portable {
extern const Ops ops;
}
namespace portable_f64 {
extern const Ops ops;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Ops ops;
}
namespace avx512 {
extern const Ops ops;
}
namespace avx512_on_avx2 {
extern const Ops ops;
}
#endif

namespace {

struct Variant {
  const char* isa;
  const Ops* ops;
  bool (*runs_here)();
};

bool always() { return true; }

#if defined(__x86_64__)
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
}
#endif

/// Best first.
constexpr Variant kVariants[] = {
#if defined(__x86_64__)
    {"avx512", &avx512::ops, has_avx512},
    {"avx2", &avx2::ops, has_avx2},
    {"avx512_on_avx2", &avx512_on_avx2::ops, has_avx2},
#endif
    {"portable", &portable::ops, always},
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
  if (size_of(dtype) == 2) {
    throw InvalidInputError(std::string("dtype: got '") + name_of(dtype) +
                            "' for the CPU, expected 'float32' or 'float64'");
  }
  return dtype == DType::kFloat64 ? portable_f64::ops : *variant.ops;
}

}  // namespace albert_fast::cpu

#include "cpu/table.h"

#include <cstdlib>

#include "kernels/errors.h"

namespace albert_fast::cpu {

namespace portable {
extern const Ops ops, ops_bfloat16;
}
namespace portable_f64 {
extern const Ops ops;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Ops ops, ops_bfloat16;
}
namespace avx512 {
extern const Ops ops, ops_bfloat16;
}
namespace avx512_on_avx2 {
extern const Ops ops, ops_bfloat16;
}
#endif

namespace {

struct Variant {
  const char* isa;
  const Ops* ops;           // float32
  const Ops* ops_bfloat16;  // float32 with weights of bfloat16
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
    {"avx512", &avx512::ops, &avx512::ops_bfloat16, has_avx512},
    {"avx2", &avx2::ops, &avx2::ops_bfloat16, has_avx2},
    {"avx512_on_avx2", &avx512_on_avx2::ops, &avx512_on_avx2::ops_bfloat16, has_avx2},
#endif
    {"portable", &portable::ops, &portable::ops_bfloat16, always},
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
  if (dtype == DType::kFloat64) return portable_f64::ops;
  if (dtype == DType::kFloat32) return *variant.ops;
  if (dtype == DType::kBFloat16) return *variant.ops_bfloat16;
  throw InvalidInputError(std::string("dtype: got '") + name_of(dtype) +
                          "' for the CPU, expected 'float32', 'bfloat16' or 'float64'");
}

}  // namespace albert_fast::cpu

// What nvcc's host code does before main and after, done by hand with PTX that is written here.
#include "fat_binary_builder.h"
#include "support.h"

// No header of CUDA's declares these.
extern "C" {
void** __cudaRegisterFatBinary(void* wrapper);
void __cudaUnregisterFatBinary(void** handle);
void __cudaRegisterFunction(void** handle, const char* host_function, char* device_function, const char* name,
                            int thread_limit, uint3*, uint3*, dim3*, dim3*, int*);
void __cudaRegisterVar(void** handle, char* host_variable, char* device_address, const char* name, int, size_t size,
                       int constant, int global);
}

namespace {

// total += 1; *out = total
const std::string kCountingPtx = R"(
.version 8.0
.target sm_80
.address_size 64
.global .align 4 .u32 total = 10;
.visible .entry count(.param .u64 out)
{
  .reg .b32 %r<3>;
  .reg .b64 %rd<3>;
  ld.param.u64 %rd1, [out];
  cvta.to.global.u64 %rd2, %rd1;
  ld.global.u32 %r1, [total];
  add.s32 %r2, %r1, 1;
  st.global.u32 [total], %r2;
  st.global.u32 [%rd2], %r2;
  ret;
}
)";

/// A registered fat binary with the kernel `count`; host_count and host_total stand for nvcc's host twins.
struct Registered {
  FatBinary fat;
  void** handle = nullptr;
  char host_count = 0, host_total = 0;

  Registered(const std::string& ptx, uint32_t architecture, uint64_t flags = 0x11) {
    fat.entry(1, architecture, flags, ptx);
    handle = __cudaRegisterFatBinary(const_cast<void*>(fat.wrap()));
    __cudaRegisterFunction(handle, &host_count, &host_count, "count", -1, nullptr, nullptr, nullptr, nullptr, nullptr);
    __cudaRegisterVar(handle, &host_total, &host_total, "total", 0, 4, 0, 0);
  }

  ~Registered() { __cudaUnregisterFatBinary(handle); }

  cudaError_t launch(int* out) const {
    void* arguments[] = {&out};
    return cudaLaunchKernel(&host_count, dim3(1), dim3(1), arguments, 0, nullptr);
  }
};

}  // namespace

TEST_CASE("a module's variables begin anew when it is registered again, and its kernels end with it") {
  const FreshDevice fresh;
  int* const out = on_device(std::vector<int>{0});
  const char* gone = nullptr;
  void* total = nullptr;
  cudaPointerAttributes attributes;
  for (int time = 0; time < 2; ++time) {
    const Registered registered(kCountingPtx, 80);
    CHECK_CUDA(registered.launch(out));
    CHECK_CUDA(registered.launch(out));
    CHECK(from_device(out, 1)[0] == 12);
    CHECK_CUDA(cudaGetSymbolAddress(&total, &registered.host_total));
    CHECK(from_device(static_cast<int*>(total), 1)[0] == 12);
    int value = 30;
    CHECK_ERROR(cudaMemcpyToSymbol(&registered.host_total, &value, 4, 1, cudaMemcpyHostToDevice),
                cudaErrorInvalidValue);
    check_report_has("beyond the end of the variable");
    CHECK_CUDA(cudaMemcpyToSymbol(&registered.host_total, &value, 2, 2, cudaMemcpyHostToDevice));
    CHECK_CUDA(registered.launch(out));
    CHECK(from_device(out, 1)[0] == (30 << 16) + 13);
    CHECK_CUDA(cudaPointerGetAttributes(&attributes, total));
    CHECK(attributes.type == cudaMemoryTypeDevice);
    gone = &registered.host_count;
  }
  CHECK_CUDA(cudaPointerGetAttributes(&attributes, total));
  CHECK(attributes.type == cudaMemoryTypeUnregistered);
  CHECK_ERROR(cudaFuncSetAttribute(gone, cudaFuncAttributeMaxDynamicSharedMemorySize, 1),
              cudaErrorInvalidDeviceFunction);
  check_report_has("no kernel");
}

TEST_CASE("fat binaries that are no good are noticed by the first launch") {
  const FreshDevice fresh;
  int* const out = on_device(std::vector<int>{0});
  std::string unknown = kCountingPtx;
  unknown.replace(unknown.find("add.s32"), 7, "frobnicate.s32");
  CHECK_ERROR(Registered(unknown, 80).launch(out), cudaErrorInvalidPtx);
  check_report_has("frobnicate.s32 %r2, %r1, 1");
  std::string other_name = kCountingPtx;
  other_name.replace(other_name.find("count("), 5, "other");
  CHECK_ERROR(Registered(other_name, 80).launch(out), cudaErrorInvalidDeviceFunction);
  check_report_has("the PTX has no kernel count");
  CHECK_ERROR(Registered(kCountingPtx, 80, 0x2011).launch(out), cudaErrorInvalidKernelImage);
  check_report_has("compressed");

  const Registered newer(kCountingPtx, 90);
  CHECK_ERROR(newer.launch(out), cudaErrorNoKernelImageForDevice);
  check_report_has("sm_80");
  CHECK(emulator_set_compute_capability(90) == 0);
  CHECK_CUDA(newer.launch(out));
  CHECK(from_device(out, 1)[0] == 11);
}

#include "bindings/backends.h"

#include <dlfcn.h>

#include <filesystem>
#include <mutex>

#include "cpu/table.h"
#include "kernels/errors.h"

namespace albert_fast::bindings {
namespace {

struct CudaLibrary {
  std::mutex mutex;
  const Backend* backend = nullptr;
  std::string path;     // of a library that is not the installed one
  std::string why_not;  // once loading was tried and failed
};

/// Never destroyed: at the process's end, other libraries may be gone before ours.
CudaLibrary& library() {
  static auto* const instance = new CudaLibrary;
  return *instance;
}

/// _cuda.so beside this extension.
std::filesystem::path installed_library() {
  Dl_info self{};
  dladdr(reinterpret_cast<const void*>(&installed_library), &self);
  return std::filesystem::path(self.dli_fname).parent_path() / "_cuda.so";
}

const Backend* open(const std::string& path) {
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) throw DeviceError("CUDA backend: " + std::string(dlerror()));
  const auto function = reinterpret_cast<BackendFunction>(dlsym(handle, kBackendSymbol));
  const Backend* backend = function == nullptr ? nullptr : function();
  if (backend == nullptr || backend->ops_size != sizeof(Ops)) {
    throw DeviceError("CUDA backend: " + path + " is none of this version's");
  }
  return backend;
}

/// Null if there is none, and then library().why_not says so.
const Backend* installed_backend() {
  CudaLibrary& cuda = library();
  const std::lock_guard lock(cuda.mutex);
  if (cuda.backend != nullptr || !cuda.why_not.empty()) return cuda.backend;
  const std::filesystem::path path = installed_library();
  if (!std::filesystem::exists(path)) {
    cuda.why_not = "built without CUDA (no nvcc was found, or ALBERT_FAST_CUDA=OFF)";
    return nullptr;
  }
  try {
    cuda.backend = open(path.string());
  } catch (const DeviceError& error) {
    cuda.why_not = error.what();
  }
  return cuda.backend;
}

}  // namespace

void load_cuda_backend(const std::string& path) {
  const Backend* backend = path.empty() ? nullptr : open(path);
  CudaLibrary& cuda = library();
  const std::lock_guard lock(cuda.mutex);
  cuda.backend = backend;
  cuda.path = path;
  cuda.why_not.clear();
}

std::string cuda_backend_path() {
  CudaLibrary& cuda = library();
  const std::lock_guard lock(cuda.mutex);
  return cuda.path;
}

const Backend& cuda_backend() {
  const Backend* backend = installed_backend();
  if (backend == nullptr) throw DeviceError("device: got 'cuda', expected 'cpu': " + library().why_not);
  return *backend;
}

std::string cuda_unavailable_reason() {
  const Backend* backend = installed_backend();
  return backend == nullptr ? library().why_not : backend->unavailable_reason();
}

const Ops& find_ops(const std::string& device, const std::string& isa, DType dtype) {
  if (device == "cpu") return cpu::find_ops(isa, dtype);
  if (device != "cuda") throw InvalidInputError("device: got '" + device + "', expected 'cpu' or 'cuda'");
  if (!isa.empty()) throw InvalidInputError("isa: got '" + isa + "' for device 'cuda', which has none");
  const Backend& backend = cuda_backend();
  const std::string reason = backend.unavailable_reason();
  if (!reason.empty()) throw DeviceError("device: got 'cuda', expected 'cpu': " + reason);
  const Ops* ops = backend.find_ops(dtype);
  if (ops != nullptr) return *ops;
  throw InvalidInputError(std::string("dtype: got '") + name_of(dtype) +
                          "' for CUDA, expected 'float32', 'bfloat16' or 'float16'");
}

}  // namespace albert_fast::bindings

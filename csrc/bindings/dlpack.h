// The part of DLPack's C interface that arrays cross the border by; names and layout are the standard's
// (dmlc.github.io/dlpack, "C API", unversioned managed tensors).
#pragma once

#include <cstdint>

extern "C" {

enum : int32_t { kDLCPU = 1, kDLCUDA = 2 };
enum : uint8_t { kDLFloat = 2, kDLBfloat = 4 };

struct DLDevice {
  int32_t device_type;
  int32_t device_id;
};

struct DLDataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};

struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;  // in elements; null: C order without gaps
  uint64_t byte_offset;
};

struct DLManagedTensor {
  DLTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(DLManagedTensor* self);
};

}  // extern "C"

#include "cuda-memory.h"

#include <dlfcn.h>

#include <stdexcept>
#include <string>

namespace {

constexpr int kDeviceToDevice = 3;  // cudaMemcpyDeviceToDevice

struct CudaRuntime {
  int (*GetDevice)(int* device);
  int (*SetDevice)(int device);
  int (*Malloc)(void** memory, size_t bytes);
  int (*Memset)(void* memory, int value, size_t bytes);
  int (*Memcpy)(void* target, const void* source, size_t bytes, int kind);
  int (*DeviceSynchronize)();
  int (*Free)(void* memory);
  const char* (*GetErrorString)(int error);
};

// Prefers the library that the CUDA provider has loaded already. Two CUDA runtimes of different major versions would
// both work, but use twice the memory for their contexts.
void* OpenRuntime() {
  const char* const names[] = {"libcudart.so.12", "libcudart.so.13"};
  for (const char* name : names) {
    if (void* handle = dlopen(name, RTLD_NOW | RTLD_NOLOAD)) return handle;
  }
  for (const char* name : names) {
    if (void* handle = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return handle;
  }
  throw std::runtime_error("The CUDA runtime is missing: libcudart.so.12 is not on the library path.");
}

template <typename Function>
void Bind(Function& target, void* handle, const char* name) {
  target = reinterpret_cast<Function>(dlsym(handle, name));
  if (target == nullptr) throw std::runtime_error(std::string("The CUDA runtime lacks ") + name + ".");
}

const CudaRuntime& Runtime() {
  static const CudaRuntime runtime = [] {
    void* handle = OpenRuntime();
    CudaRuntime loaded{};
    Bind(loaded.GetDevice, handle, "cudaGetDevice");
    Bind(loaded.SetDevice, handle, "cudaSetDevice");
    Bind(loaded.Malloc, handle, "cudaMalloc");
    Bind(loaded.Memset, handle, "cudaMemset");
    Bind(loaded.Memcpy, handle, "cudaMemcpy");
    Bind(loaded.DeviceSynchronize, handle, "cudaDeviceSynchronize");
    Bind(loaded.Free, handle, "cudaFree");
    Bind(loaded.GetErrorString, handle, "cudaGetErrorString");
    return loaded;
  }();
  return runtime;
}

void Check(int error, const std::string& action) {
  if (error != 0) throw std::runtime_error(action + " failed: " + Runtime().GetErrorString(error) + ".");
}

// The current device is a setting of the calling thread. Restores it, because other code uses this thread too.
class DeviceScope {
 public:
  explicit DeviceScope(int device) {
    Check(Runtime().GetDevice(&previous_), "Asking for the CUDA device");
    Check(Runtime().SetDevice(device), "Choosing CUDA device " + std::to_string(device));
  }
  ~DeviceScope() { Runtime().SetDevice(previous_); }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int previous_ = 0;
};

}  // namespace

void* AllocateCuda(int device, size_t bytes) {
  const DeviceScope scope(device);
  void* memory = nullptr;
  const std::string where = " on CUDA device " + std::to_string(device);
  Check(Runtime().Malloc(&memory, bytes), "Allocating " + std::to_string(bytes) + " bytes" + where);
  // cudaMemset is asynchronous, and onnxruntime's stream does not wait for the default stream.
  const int error = Runtime().Memset(memory, 0, bytes);
  const int waited = Runtime().DeviceSynchronize();
  if (error != 0 || waited != 0) {
    Runtime().Free(memory);
    Check(error != 0 ? error : waited, "Clearing memory" + where);
  }
  return memory;
}

void FreeCuda(int device, void* memory) noexcept {
  try {
    const DeviceScope scope(device);
    Runtime().Free(memory);
  } catch (const std::exception&) {
    // The device is lost or the process is ending: the memory is freed with it.
  }
}

void CopyCuda(int device, const std::vector<PieceCopy>& pieces) {
  const DeviceScope scope(device);
  const std::string action = "Copying on CUDA device " + std::to_string(device);
  // onnxruntime's stream and the default stream do not wait for each other.
  Check(Runtime().DeviceSynchronize(), action);
  for (const PieceCopy& piece : pieces) {
    Check(Runtime().Memcpy(piece.to, piece.from, piece.bytes, kDeviceToDevice), action);
  }
  // A copy inside the device is asynchronous.
  Check(Runtime().DeviceSynchronize(), action);
}

#include "cuda-memory.h"

#include <dlfcn.h>
#include <link.h>

#include <stdexcept>
#include <string>

namespace {

// cudaMemcpyKind
constexpr int kHostToDevice = 1;
constexpr int kDeviceToHost = 2;
constexpr int kDeviceToDevice = 3;
constexpr unsigned kNonBlocking = 1;  // cudaStreamNonBlocking

struct CudaRuntime {
  int (*GetDevice)(int* device);
  int (*SetDevice)(int device);
  int (*Malloc)(void** memory, size_t bytes);
  int (*Memset)(void* memory, int value, size_t bytes);
  int (*MallocHost)(void** memory, size_t bytes);
  int (*FreeHost)(void* memory);
  int (*Memcpy)(void* target, const void* source, size_t bytes, int kind);
  int (*MemcpyAsync)(void* target, const void* source, size_t bytes, int kind, void* stream);
  int (*StreamCreateWithFlags)(void** stream, unsigned flags);
  int (*StreamDestroy)(void* stream);
  int (*StreamSynchronize)(void* stream);
  int (*Free)(void* memory);
  const char* (*GetErrorString)(int error);
};

int NoteProvider(dl_phdr_info* info, size_t, void* path) {
  const std::string name = info->dlpi_name == nullptr ? "" : info->dlpi_name;
  const std::string wanted = "libonnxruntime_providers_cuda.so";
  if (name.size() < wanted.size() || name.compare(name.size() - wanted.size(), wanted.size(), wanted) != 0) return 0;
  *static_cast<std::string*>(path) = name;
  return 1;
}

// The CUDA runtime that onnxruntime's CUDA provider links to: its symbols are found through the provider. Another one
// of a different major version would also work, but use memory for a context of its own. Without a provider, before
// the first session, any runtime will do.
void* OpenRuntime() {
  std::string provider;
  dl_iterate_phdr(NoteProvider, &provider);
  if (!provider.empty()) {
    if (void* handle = dlopen(provider.c_str(), RTLD_NOW | RTLD_NOLOAD)) return handle;
  }
  for (const char* name : {"libcudart.so.13", "libcudart.so.12"}) {
    if (void* handle = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return handle;
  }
  throw std::runtime_error(
      "The CUDA runtime is missing: neither libcudart.so.13 nor libcudart.so.12 is on the library path.");
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
    Bind(loaded.MallocHost, handle, "cudaMallocHost");
    Bind(loaded.FreeHost, handle, "cudaFreeHost");
    Bind(loaded.Memcpy, handle, "cudaMemcpy");
    Bind(loaded.MemcpyAsync, handle, "cudaMemcpyAsync");
    Bind(loaded.StreamCreateWithFlags, handle, "cudaStreamCreateWithFlags");
    Bind(loaded.StreamDestroy, handle, "cudaStreamDestroy");
    Bind(loaded.StreamSynchronize, handle, "cudaStreamSynchronize");
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
  // cudaMemset is asynchronous, and onnxruntime's stream does not wait for the default stream, in which it happens.
  const int error = Runtime().Memset(memory, 0, bytes);
  const int waited = Runtime().StreamSynchronize(nullptr);
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
  // Every run that used the memory has ended, and with it the work in its stream.
  for (const PieceCopy& piece : pieces) {
    Check(Runtime().Memcpy(piece.to, piece.from, piece.bytes, kDeviceToDevice), action);
  }
  // A copy inside the device is asynchronous. Only the default stream is waited for, not other sessions' runs.
  Check(Runtime().StreamSynchronize(nullptr), action);
}

void ReadCuda(int device, const std::byte* from, void* to, size_t bytes) {
  const DeviceScope scope(device);
  // Every run that wrote the memory has ended, and a copy to the host returns when it is done.
  Check(Runtime().Memcpy(to, from, bytes, kDeviceToHost), "Reading from CUDA device " + std::to_string(device));
}

CudaStaging::CudaStaging(int device, size_t bytes, size_t host_bytes)
    : device_index_(device), bytes_(bytes), host_bytes_(host_bytes) {
  const DeviceScope scope(device);
  const std::string what = "Staging " + std::to_string(bytes) + " bytes on CUDA device " + std::to_string(device);
  try {
    Check(Runtime().Malloc(&device_, bytes), what);
    Check(Runtime().Memset(device_, 0, bytes), what);
    Check(Runtime().StreamSynchronize(nullptr), what);
    Check(Runtime().MallocHost(&host_, host_bytes), what);
    Check(Runtime().StreamCreateWithFlags(&stream_, kNonBlocking), what);
  } catch (const std::exception&) {
    Release();
    throw;
  }
}

CudaStaging::~CudaStaging() { Release(); }

void CudaStaging::Release() noexcept {
  try {
    const DeviceScope scope(device_index_);
    if (stream_ != nullptr) Runtime().StreamDestroy(stream_);
    if (host_ != nullptr) Runtime().FreeHost(host_);
    if (device_ != nullptr) Runtime().Free(device_);
  } catch (const std::exception&) {
    // The device is lost or the process is ending: the memory is freed with it.
  }
}

void CudaStaging::CopyToDevice(size_t offset, const void* from, size_t bytes) {
  Copy(device() + offset, from, bytes, kHostToDevice);
}

void CudaStaging::CopyToHost(size_t offset, void* to, size_t bytes) {
  Copy(to, device() + offset, bytes, kDeviceToHost);
}

void CudaStaging::Copy(void* to, const void* from, size_t bytes, int kind) {
  if (bytes == 0) return;
  const DeviceScope scope(device_index_);
  Check(Runtime().MemcpyAsync(to, from, bytes, kind, stream_), "Copying the values of a run");
  Check(Runtime().StreamSynchronize(stream_), "Copying the values of a run");
}

#include "cuda-runtime.h"

#include <link.h>

namespace {

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

}  // namespace

const CudaRuntime& Cuda() {
  static const CudaRuntime runtime = [] {
    void* handle = OpenRuntime();
    CudaRuntime loaded{};
    const auto bind = [handle](auto& target, const char* name) {
      BindFunction(target, handle, name, "The CUDA runtime");
    };
    bind(loaded.SetDevice, "cudaSetDevice");
    bind(loaded.Malloc, "cudaMalloc");
    bind(loaded.Memset, "cudaMemset");
    bind(loaded.MallocHost, "cudaMallocHost");
    bind(loaded.FreeHost, "cudaFreeHost");
    bind(loaded.Memcpy, "cudaMemcpy");
    bind(loaded.MemcpyAsync, "cudaMemcpyAsync");
    bind(loaded.StreamCreateWithFlags, "cudaStreamCreateWithFlags");
    bind(loaded.StreamDestroy, "cudaStreamDestroy");
    bind(loaded.StreamSynchronize, "cudaStreamSynchronize");
    bind(loaded.Free, "cudaFree");
    bind(loaded.GetErrorString, "cudaGetErrorString");
    return loaded;
  }();
  return runtime;
}

void CheckCuda(int error, const std::string& action) {
  if (error != 0) throw std::runtime_error(action + " failed: " + Cuda().GetErrorString(error) + ".");
}

void ChooseDevice(int device) {
  CheckCuda(Cuda().SetDevice(device), "Choosing CUDA device " + std::to_string(device));
}

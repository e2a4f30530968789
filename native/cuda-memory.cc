#include "cuda-memory.h"

#include <stdexcept>
#include <string>

#include "cuda-runtime.h"

namespace {

// cudaMemcpyKind
constexpr int kHostToDevice = 1;
constexpr int kDeviceToHost = 2;
constexpr int kDeviceToDevice = 3;
constexpr unsigned kNonBlocking = 1;  // cudaStreamNonBlocking

}  // namespace

void* AllocateCuda(int device, size_t bytes) {
  ChooseDevice(device);
  void* memory = nullptr;
  const std::string where = " on CUDA device " + std::to_string(device);
  CheckCuda(Cuda().Malloc(&memory, bytes), "Allocating " + std::to_string(bytes) + " bytes" + where);
  // cudaMemset is asynchronous, and onnxruntime's stream does not wait for the default stream, in which it happens.
  const int error = Cuda().Memset(memory, 0, bytes);
  const int waited = Cuda().StreamSynchronize(nullptr);
  if (error != 0 || waited != 0) {
    Cuda().Free(memory);
    CheckCuda(error != 0 ? error : waited, "Clearing memory" + where);
  }
  return memory;
}

void FreeCuda(int device, void* memory) noexcept {
  try {
    ChooseDevice(device);
    Cuda().Free(memory);
  } catch (const std::exception&) {
    // The device is lost or the process is ending: the memory is freed with it.
  }
}

void CopyCuda(int device, const std::vector<PieceCopy>& pieces) {
  ChooseDevice(device);
  const std::string action = "Copying on CUDA device " + std::to_string(device);
  // Every run that used the memory has ended, and with it the work in its stream.
  for (const PieceCopy& piece : pieces) {
    CheckCuda(Cuda().Memcpy(piece.to, piece.from, piece.bytes, kDeviceToDevice), action);
  }
  // A copy inside the device is asynchronous. Only the default stream is waited for, not other sessions' runs.
  CheckCuda(Cuda().StreamSynchronize(nullptr), action);
}

void ReadCuda(int device, const std::byte* from, void* to, size_t bytes) {
  ChooseDevice(device);
  // Every run that wrote the memory has ended, and a copy to the host returns when it is done.
  CheckCuda(Cuda().Memcpy(to, from, bytes, kDeviceToHost), "Reading from CUDA device " + std::to_string(device));
}

CudaStream::CudaStream(int device) : device_(device) {
  ChooseDevice(device);
  CheckCuda(Cuda().StreamCreateWithFlags(&handle_, kNonBlocking),
            "Making a stream on CUDA device " + std::to_string(device));
}

CudaStream::~CudaStream() {
  try {
    ChooseDevice(device_);
    Cuda().StreamDestroy(handle_);
  } catch (const std::exception&) {
    // The device is lost or the process is ending: the stream goes with it.
  }
}

void CudaStream::Wait() const {
  ChooseDevice(device_);
  CheckCuda(Cuda().StreamSynchronize(handle_), "A run on CUDA device " + std::to_string(device_));
}

CudaStaging::CudaStaging(int device, size_t bytes, size_t host_bytes, std::shared_ptr<CudaStream> stream)
    : device_index_(device), bytes_(bytes), host_bytes_(host_bytes), stream_(std::move(stream)) {
  ChooseDevice(device);
  const std::string what = "Staging " + std::to_string(bytes) + " bytes on CUDA device " + std::to_string(device);
  try {
    CheckCuda(Cuda().Malloc(&device_, bytes), what);
    CheckCuda(Cuda().Memset(device_, 0, bytes), what);
    CheckCuda(Cuda().StreamSynchronize(nullptr), what);
    CheckCuda(Cuda().MallocHost(&host_, host_bytes), what);
  } catch (const std::exception&) {
    Release();
    throw;
  }
}

CudaStaging::~CudaStaging() { Release(); }

void CudaStaging::Release() noexcept {
  try {
    ChooseDevice(device_index_);
    if (host_ != nullptr) Cuda().FreeHost(host_);
    if (device_ != nullptr) Cuda().Free(device_);
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
  ChooseDevice(device_index_);
  CheckCuda(Cuda().MemcpyAsync(to, from, bytes, kind, stream_->handle()), "Copying the values of a run");
}

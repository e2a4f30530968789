// Device memory from the CUDA runtime that onnxruntime's CUDA provider uses too. It does not come from onnxruntime's
// arena: a slab of many GiB would fragment it, and the arena exists only once a session exists.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

/** A copy inside one block of memory. The two places do not overlap. */
struct PieceCopy {
  const std::byte* from;
  std::byte* to;
  size_t bytes;
};

/** Zeroed memory on a CUDA device. Throws std::runtime_error without the runtime library or without enough memory. */
void* AllocateCuda(int device, size_t bytes);

/** Frees memory from AllocateCuda, after the work on the device that may still use it. */
void FreeCuda(int device, void* memory) noexcept;

/** Copies inside a CUDA device's memory and waits for it. Throws std::runtime_error with the runtime's message. */
void CopyCuda(int device, const std::vector<PieceCopy>& pieces);

/** Copies from a CUDA device's memory to the host and waits for it. Throws std::runtime_error as CopyCuda. */
void ReadCuda(int device, const std::byte* from, void* to, size_t bytes);

/** A queue of a CUDA device: what is in it happens in order, beside what is in others. */
class CudaStream {
 public:
  /** Throws std::runtime_error with the runtime's message. */
  explicit CudaStream(int device);
  ~CudaStream();
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  void* handle() const { return handle_; }
  /** Waits until it is empty. Throws std::runtime_error with what failed in it. */
  void Wait() const;

 private:
  int device_;
  void* handle_ = nullptr;
};

/**
 * A block of memory on a CUDA device and one in pinned host memory, so that many small values take one fast copy.
 * Copies are put into the stream, and are done when it is empty. A copy from or to memory that is not pinned may be done
 * before that.
 */
class CudaStaging {
 public:
  /** Throws std::runtime_error with the runtime's message. */
  CudaStaging(int device, size_t bytes, size_t host_bytes, std::shared_ptr<CudaStream> stream);
  ~CudaStaging();
  CudaStaging(const CudaStaging&) = delete;
  CudaStaging& operator=(const CudaStaging&) = delete;

  size_t bytes() const { return bytes_; }
  size_t host_bytes() const { return host_bytes_; }
  std::byte* host() const { return static_cast<std::byte*>(host_); }
  std::byte* device() const { return static_cast<std::byte*>(device_); }
  /** To or from `offset` of the device's block. The host's memory may be any. */
  void CopyToDevice(size_t offset, const void* from, size_t bytes);
  void CopyToHost(size_t offset, void* to, size_t bytes);
  void Wait() const { stream_->Wait(); }

 private:
  void Copy(void* to, const void* from, size_t bytes, int kind);
  void Release() noexcept;

  int device_index_;
  size_t bytes_;
  size_t host_bytes_;
  void* device_ = nullptr;
  void* host_ = nullptr;
  std::shared_ptr<CudaStream> stream_;
};

// Zeroed memory on a device that lives across runs: the KV cache. A shared_ptr owns it; a run in progress holds one
// too.
#pragma once

#include <cstddef>

/** Where tensors are: in this machine's memory or on a CUDA device. */
struct Device {
  enum class Type { kCpu, kCuda };
  Type type = Type::kCpu;
  int index = 0;

  bool operator==(const Device& other) const { return type == other.type && index == other.index; }
  bool operator!=(const Device& other) const { return !(*this == other); }
};

class Slab {
 public:
  /** Throws std::runtime_error when the memory cannot be allocated. */
  Slab(Device device, size_t bytes);
  ~Slab();
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

  std::byte* memory() const { return memory_; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

 private:
  Device device_;
  size_t bytes_;
  std::byte* memory_ = nullptr;
};

// Zeroed memory on a device that lives across runs: the KV cache. Owned by whoever holds the last shared_ptr, which may
// be a run in flight.
#pragma once

#include <cstddef>

#include "device.h"

class Slab {
 public:
  /** Throws std::runtime_error when the memory is not to be had. */
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

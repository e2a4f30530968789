// Memory on a device that lives across runs: the KV cache. A shared_ptr owns it; a run in progress holds one too.
#pragma once

#include <cstddef>
#include <memory>

#include "device.h"

class PagePool;
struct PageTable;

class Slab {
 public:
  /** Zeroed memory. Throws std::runtime_error when it cannot be allocated. */
  Slab(Device device, size_t bytes);
  /** Only addresses; the pool's Commit gives memory to them. Rounds up to whole pages. Throws std::runtime_error. */
  Slab(std::shared_ptr<PagePool> pool, size_t bytes);
  ~Slab();
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

  std::byte* memory() const { return memory_; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  /** Where its pages come from, or null for a slab that has all its memory. */
  const std::shared_ptr<PagePool>& pool() const { return pool_; }
  /** Its pages, or null. */
  PageTable* table() const { return table_.get(); }

 private:
  Device device_;
  size_t bytes_;
  std::byte* memory_ = nullptr;
  std::shared_ptr<PagePool> pool_;
  std::unique_ptr<PageTable> table_;
};

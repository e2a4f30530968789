#include "slab.h"

#include <stdexcept>
#include <utility>

#include "cuda-memory.h"
#include "host-memory.h"
#include "page-pool.h"

namespace {

size_t NotEmpty(size_t bytes) {
  if (bytes == 0) throw std::runtime_error("A slab must not be empty. This is a bug.");
  return bytes;
}

size_t RoundedUp(size_t bytes, size_t step) { return (bytes + step - 1) / step * step; }

}  // namespace

Slab::Slab(Device device, size_t bytes) : device_(device), bytes_(NotEmpty(bytes)) {
  memory_ = device.type == Device::Type::kCuda ? static_cast<std::byte*>(AllocateCuda(device.index, bytes))
                                               : MapZeroed(bytes);
}

Slab::Slab(std::shared_ptr<PagePool> pool, size_t bytes)
    : device_(pool->device()), bytes_(RoundedUp(NotEmpty(bytes), pool->page_bytes())), pool_(std::move(pool)) {
  table_ = pool_->Reserve(bytes_);
  memory_ = table_->memory;
}

Slab::~Slab() {
  if (pool_ != nullptr) {
    pool_->Free(*table_);
  } else if (device_.type == Device::Type::kCuda) {
    FreeCuda(device_.index, memory_);
  } else {
    UnmapZeroed(memory_, bytes_);
  }
}

#include "slab.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

#include "cuda-memory.h"

namespace {

// Straight from the kernel, not from malloc: a page that no token ever reaches never costs memory.
void* MapZeroed(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory != MAP_FAILED) return memory;
  throw std::runtime_error("Reserving " + std::to_string(bytes) + " bytes failed: " + std::strerror(errno) + ".");
}

}  // namespace

Slab::Slab(Device device, size_t bytes) : device_(device), bytes_(bytes) {
  if (bytes == 0) throw std::runtime_error("A slab of no bytes was asked for. This is a bug.");
  memory_ = static_cast<std::byte*>(device.type == Device::Type::kCuda ? AllocateCuda(device.index, bytes) : MapZeroed(bytes));
}

Slab::~Slab() {
  if (device_.type == Device::Type::kCuda) {
    FreeCuda(device_.index, memory_);
  } else {
    munmap(memory_, bytes_);
  }
}

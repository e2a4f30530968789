#include "slab.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

#include "cuda-memory.h"

namespace {

// From mmap, not malloc: a page that is never touched never uses memory.
void* MapZeroed(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory != MAP_FAILED) return memory;
  throw std::runtime_error("Reserving " + std::to_string(bytes) + " bytes failed: " + std::strerror(errno) + ".");
}

}  // namespace

Slab::Slab(Device device, size_t bytes) : device_(device), bytes_(bytes) {
  if (bytes == 0) throw std::runtime_error("A slab must not be empty. This is a bug.");
  void* memory = device.type == Device::Type::kCuda ? AllocateCuda(device.index, bytes) : MapZeroed(bytes);
  memory_ = static_cast<std::byte*>(memory);
}

Slab::~Slab() {
  if (device_.type == Device::Type::kCuda) {
    FreeCuda(device_.index, memory_);
  } else {
    munmap(memory_, bytes_);
  }
}

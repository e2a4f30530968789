#include "host-memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

std::byte* MapZeroed(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    throw std::runtime_error("Reserving " + std::to_string(bytes) + " bytes failed: " + std::strerror(errno) + ".");
  }
  // Where huge pages are always on, a first write would take 2 MiB, and discarding a part would not give it back. A
  // kernel without them refuses this.
  madvise(memory, bytes, MADV_NOHUGEPAGE);
  return static_cast<std::byte*>(memory);
}

void UnmapZeroed(std::byte* memory, size_t bytes) noexcept { munmap(memory, bytes); }

void DiscardPages(std::byte* memory, size_t bytes) {
  if (madvise(memory, bytes, MADV_DONTNEED) == 0) return;
  throw std::runtime_error("Giving back " + std::to_string(bytes) + " bytes failed: " + std::strerror(errno) + ".");
}

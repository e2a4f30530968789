// The virtual memory functions of CUDA's driver over a file in memory: a physical page is a piece of it, and mapping
// maps it to addresses of this process. It is as strict as the driver: only what is reserved and not mapped can be
// mapped, only whole mappings are unmapped, and a mapping cannot be touched before it has access.
//
//   CUDA_STUB_ACCESS_FAILS=N  call N that sets access finds no memory
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <vector>

extern "C" void StubLog(const char* format, ...);
extern "C" int cudaGetDevice(int* device);
/** Counts memory of the device for a page. False when there is too little. */
extern "C" bool StubTakeMemory(uint64_t page, size_t bytes);
extern "C" void StubGiveMemory(uint64_t page);
extern "C" const char* cudaGetErrorString(int error);

namespace {

using Error = int;
using Address = uint64_t;
using Handle = uint64_t;
constexpr Error kSuccess = 0;
constexpr Error kInvalidValue = 1;
constexpr Error kOutOfMemory = 2;
constexpr size_t kGranularity = size_t{2} << 20;

struct Location {
  int type, id;
};
struct Properties {
  int type, handle_types;
  Location location;
  void* meta_data;
  unsigned char flags[8];
};
struct Access {
  Location location;
  int flags;
};

struct Physical {
  size_t mappings = 0;
  bool is_released = false;
};

struct State {
  std::mutex mutex;
  int file = memfd_create("cuda-stub", 0);
  /** the handle of a page is its place in the file, counted from 1 */
  std::map<Handle, Physical> pages;
  std::vector<Handle> free;
  Handle last = 0;
  /** bytes by first address */
  std::map<Address, size_t> reserved;
  /** page by address; each mapping is one page */
  std::map<Address, Handle> mapped;
};

// Never destroyed: memory is freed while the process ends.
State& Stub() {
  static auto* state = new State;
  return *state;
}

/** Stricter than CUDA, which takes any device: an engine process has one. */
bool IsCurrent(const Location& location) {
  int current = 0;
  cudaGetDevice(&current);
  return location.type == 1 && location.id == current;
}

void* Pointer(Address address) { return reinterpret_cast<void*>(address); }

bool IsWhole(Address start, size_t bytes) {
  return bytes > 0 && start % kGranularity == 0 && bytes % kGranularity == 0;
}

bool IsReserved(Address start, size_t bytes) {
  auto next = Stub().reserved.upper_bound(start);
  if (next == Stub().reserved.begin()) return false;
  --next;
  return start + bytes <= next->first + next->second;
}

bool IsMapped(Address start, size_t bytes) {
  for (size_t offset = 0; offset < bytes; offset += kGranularity) {
    if (Stub().mapped.count(start + offset) == 0) return false;
  }
  return true;
}

/** Blocks access to addresses without giving them up. */
bool Close(Address start, size_t bytes) {
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
  return mmap(Pointer(start), bytes, PROT_NONE, kFlags, -1, 0) != MAP_FAILED;
}

void FreeIfUnused(Handle handle) {
  const Physical& page = Stub().pages[handle];
  if (!page.is_released || page.mappings > 0) return;
  // The place is zeros again, as memory of a card is for the next program.
  const auto offset = static_cast<off_t>((handle - 1) * kGranularity);
  void* view = mmap(nullptr, kGranularity, PROT_READ | PROT_WRITE, MAP_SHARED, Stub().file, offset);
  if (view != MAP_FAILED) {
    madvise(view, kGranularity, MADV_REMOVE);
    munmap(view, kGranularity);
  }
  Stub().pages.erase(handle);
  Stub().free.push_back(handle);
  StubGiveMemory(handle);
}

}  // namespace

extern "C" {

Error cuGetErrorString(Error error, const char** text) {
  *text = cudaGetErrorString(error);
  return kSuccess;
}

Error cuMemGetAllocationGranularity(size_t* bytes, const Properties*, int) {
  *bytes = kGranularity;
  return kSuccess;
}

Error cuMemCreate(Handle* handle, size_t bytes, const Properties* properties, unsigned long long flags) {
  const bool is_known = properties->type == 1 && IsCurrent(properties->location);
  if (bytes != kGranularity || flags != 0 || !is_known) return kInvalidValue;
  const std::lock_guard<std::mutex> lock(Stub().mutex);
  const bool is_new = Stub().free.empty();
  const Handle page = is_new ? Stub().last + 1 : Stub().free.back();
  if (!StubTakeMemory(page, bytes)) {
    StubLog("PAGE refused");
    return kOutOfMemory;
  }
  if (is_new) {
    Stub().last = page;
    if (ftruncate(Stub().file, static_cast<off_t>(page * kGranularity)) != 0) return kOutOfMemory;
  } else {
    Stub().free.pop_back();
  }
  Stub().pages[page] = {};
  *handle = page;
  StubLog("PAGE create %zu", bytes);
  return kSuccess;
}

Error cuMemRelease(Handle handle) {
  const std::lock_guard<std::mutex> lock(Stub().mutex);
  const auto found = Stub().pages.find(handle);
  if (found == Stub().pages.end() || found->second.is_released) return kInvalidValue;
  found->second.is_released = true;
  FreeIfUnused(handle);
  StubLog("PAGE release");
  return kSuccess;
}

Error cuMemAddressReserve(Address* start, size_t bytes, size_t, Address, unsigned long long) {
  if (!IsWhole(0, bytes)) return kInvalidValue;
  // One page more, to find a multiple of the page size in it.
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* memory = mmap(nullptr, bytes + kGranularity, PROT_NONE, flags, -1, 0);
  if (memory == MAP_FAILED) return kOutOfMemory;
  const auto first = reinterpret_cast<Address>(memory);
  *start = (first + kGranularity - 1) / kGranularity * kGranularity;
  if (*start > first) munmap(memory, *start - first);
  if (*start < first + kGranularity) munmap(Pointer(*start + bytes), first + kGranularity - *start);
  const std::lock_guard<std::mutex> lock(Stub().mutex);
  Stub().reserved[*start] = bytes;
  StubLog("PAGE reserve %zu", bytes);
  return kSuccess;
}

Error cuMemAddressFree(Address start, size_t bytes) {
  const std::lock_guard<std::mutex> lock(Stub().mutex);
  const auto found = Stub().reserved.find(start);
  if (found == Stub().reserved.end() || found->second != bytes) return kInvalidValue;
  const auto mapped = Stub().mapped.lower_bound(start);
  if (mapped != Stub().mapped.end() && mapped->first < start + bytes) return kInvalidValue;
  Stub().reserved.erase(found);
  munmap(Pointer(start), bytes);
  StubLog("PAGE free %zu", bytes);
  return kSuccess;
}

Error cuMemMap(Address start, size_t bytes, size_t offset, Handle handle, unsigned long long flags) {
  if (!IsWhole(start, bytes) || bytes != kGranularity || offset != 0 || flags != 0) return kInvalidValue;
  const std::lock_guard<std::mutex> lock(Stub().mutex);
  const auto page = Stub().pages.find(handle);
  if (page == Stub().pages.end() || page->second.is_released) return kInvalidValue;
  if (!IsReserved(start, bytes) || Stub().mapped.count(start) > 0) return kInvalidValue;
  const auto place = static_cast<off_t>((handle - 1) * kGranularity);
  const void* view = mmap(Pointer(start), bytes, PROT_NONE, MAP_SHARED | MAP_FIXED, Stub().file, place);
  if (view == MAP_FAILED) return kOutOfMemory;
  Stub().mapped[start] = handle;
  page->second.mappings++;
  StubLog("PAGE map");
  return kSuccess;
}

Error cuMemUnmap(Address start, size_t bytes) {
  const std::lock_guard<std::mutex> lock(Stub().mutex);
  if (!IsWhole(start, bytes) || !IsMapped(start, bytes) || !Close(start, bytes)) return kInvalidValue;
  for (size_t offset = 0; offset < bytes; offset += kGranularity) {
    const auto found = Stub().mapped.find(start + offset);
    const Handle handle = found->second;
    Stub().mapped.erase(found);
    Stub().pages[handle].mappings--;
    FreeIfUnused(handle);
  }
  StubLog("PAGE unmap %zu", bytes);
  return kSuccess;
}

Error cuMemSetAccess(Address start, size_t bytes, const Access* descriptions, size_t count) {
  static const char* const text = getenv("CUDA_STUB_ACCESS_FAILS");
  static const long failing = text == nullptr ? 0 : atol(text);
  static std::atomic<long> calls{0};
  const std::lock_guard<std::mutex> lock(Stub().mutex);
  const bool is_known = count == 1 && IsCurrent(descriptions->location) && descriptions->flags == 3;
  if (!IsWhole(start, bytes) || !IsMapped(start, bytes) || !is_known) return kInvalidValue;
  StubLog("PAGE access %zu", bytes);
  if (++calls == failing) return kOutOfMemory;
  return mprotect(Pointer(start), bytes, PROT_READ | PROT_WRITE) == 0 ? kSuccess : kInvalidValue;
}

}  // extern "C"

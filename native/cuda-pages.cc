#include "cuda-pages.h"

#include <dlfcn.h>

#include <stdexcept>
#include <string>

#include "cuda-runtime.h"

namespace {

// As in cuda.h, which is not needed to build: CUdeviceptr and CUmemGenericAllocationHandle are numbers of 64 bits.
using Address = unsigned long long;
using Handle = unsigned long long;

/** CUmemLocation */
struct Location {
  int type;
  int id;
};

/** CUmemAllocationProp */
struct AllocationProperties {
  int type;
  int requested_handle_types;
  Location location;
  void* win32_handle_meta_data;
  struct {
    unsigned char compression_type;
    unsigned char gpu_direct_rdma_capable;
    unsigned short usage;
    unsigned char reserved[4];
  } flags;
};
static_assert(sizeof(AllocationProperties) == 32);

/** CUmemAccessDesc */
struct AccessDescription {
  Location location;
  int flags;
};
static_assert(sizeof(AccessDescription) == 12);

constexpr int kPinned = 1;              // CU_MEM_ALLOCATION_TYPE_PINNED
constexpr int kOnDevice = 1;            // CU_MEM_LOCATION_TYPE_DEVICE
constexpr int kReadAndWrite = 3;        // CU_MEM_ACCESS_FLAGS_PROT_READWRITE
constexpr int kMinimumGranularity = 0;  // CU_MEM_ALLOC_GRANULARITY_MINIMUM

struct CudaDriver {
  int (*GetErrorString)(int error, const char** text);
  int (*GetAllocationGranularity)(size_t* bytes, const AllocationProperties* properties, int option);
  int (*Create)(Handle* handle, size_t bytes, const AllocationProperties* properties, unsigned long long flags);
  int (*Release)(Handle handle);
  int (*AddressReserve)(Address* start, size_t bytes, size_t alignment, Address wanted, unsigned long long flags);
  int (*AddressFree)(Address start, size_t bytes);
  int (*Map)(Address start, size_t bytes, size_t offset, Handle handle, unsigned long long flags);
  int (*Unmap)(Address start, size_t bytes);
  int (*SetAccess)(Address start, size_t bytes, const AccessDescription* descriptions, size_t count);
};

const CudaDriver& Driver() {
  static const CudaDriver driver = [] {
    void* handle = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) throw std::runtime_error("The CUDA driver is missing: libcuda.so.1 cannot be loaded.");
    CudaDriver loaded{};
    const auto bind = [handle](auto& target, const char* name) {
      BindFunction(target, handle, name, "The CUDA driver");
    };
    bind(loaded.GetErrorString, "cuGetErrorString");
    bind(loaded.GetAllocationGranularity, "cuMemGetAllocationGranularity");
    bind(loaded.Create, "cuMemCreate");
    bind(loaded.Release, "cuMemRelease");
    bind(loaded.AddressReserve, "cuMemAddressReserve");
    bind(loaded.AddressFree, "cuMemAddressFree");
    bind(loaded.Map, "cuMemMap");
    bind(loaded.Unmap, "cuMemUnmap");
    bind(loaded.SetAccess, "cuMemSetAccess");
    return loaded;
  }();
  return driver;
}

void CheckDriver(int error, const std::string& action) {
  if (error == 0) return;
  const char* text = nullptr;
  if (Driver().GetErrorString(error, &text) != 0 || text == nullptr) text = "unknown error";
  throw std::runtime_error(action + " failed: " + text + ".");
}

Address AddressOf(const std::byte* memory) { return reinterpret_cast<uintptr_t>(memory); }

AllocationProperties PropertiesOf(int device) {
  AllocationProperties properties{};
  properties.type = kPinned;
  properties.location = {kOnDevice, device};
  return properties;
}

size_t PageBytesOf(int device) {
  ChooseDevice(device);
  const std::string action = "Asking for the page size of CUDA device " + std::to_string(device);
  // The runtime makes the device's context with the first call that needs it. The driver's functions do not.
  CheckCuda(Cuda().Free(nullptr), action);
  const AllocationProperties properties = PropertiesOf(device);
  size_t bytes = 0;
  CheckDriver(Driver().GetAllocationGranularity(&bytes, &properties, kMinimumGranularity), action);
  if (bytes == 0) throw std::runtime_error(action + " failed: it has none.");
  return bytes;
}

}  // namespace

CudaPages::CudaPages(int device, size_t bytes) : PageSource(PageBytesOf(device), bytes), device_(device) {
  ChooseDevice(device);
  const std::string action =
      "Allocating " + std::to_string(pages() * page_bytes()) + " bytes on CUDA device " + std::to_string(device);
  const AllocationProperties properties = PropertiesOf(device);
  try {
    for (size_t page = 0; page <= pages(); page++) {
      Handle handle = 0;
      CheckDriver(Driver().Create(&handle, page_bytes(), &properties, 0), action);
      handles_.push_back(handle);
    }
  } catch (...) {
    Release();
    throw;
  }
}

CudaPages::~CudaPages() { Release(); }

void CudaPages::Release() noexcept {
  try {
    ChooseDevice(device_);
    for (const uint64_t handle : handles_) Driver().Release(handle);
  } catch (const std::exception&) {
    // The device is lost or the process is ending: the memory is freed with it.
  }
}

std::byte* CudaPages::Reserve(size_t pages) {
  ChooseDevice(device_);
  const size_t bytes = pages * page_bytes();
  const std::string action =
      "Reserving " + std::to_string(bytes) + " bytes of addresses on CUDA device " + std::to_string(device_);
  Address start = 0;
  CheckDriver(Driver().AddressReserve(&start, bytes, 0, 0, 0), action);
  auto* memory = reinterpret_cast<std::byte*>(static_cast<uintptr_t>(start));
  try {
    CheckDriver(MapScratch(memory, pages), action);
    // Memory that nobody wrote may be anything, and a NaN in a row that attention masks would not stay there.
    CheckCuda(Cuda().Memset(memory, 0, page_bytes()), action);
    CheckCuda(Cuda().StreamSynchronize(nullptr), action);
  } catch (...) {
    Free(memory, pages);
    throw;
  }
  return memory;
}

void CudaPages::Free(std::byte* memory, size_t pages) noexcept {
  try {
    ChooseDevice(device_);
    UnmapAll(memory, pages);
    Driver().AddressFree(AddressOf(memory), pages * page_bytes());
  } catch (const std::exception&) {
    // The device is lost or the process is ending: the memory is freed with it.
  }
}

void CudaPages::Give(const std::vector<PageRun>& runs) {
  ChooseDevice(device_);
  const std::string action = "Clearing pages on CUDA device " + std::to_string(device_);
  size_t touched = 0;
  try {
    for (const PageRun& run : runs) {
      touched++;
      GiveRun(run);
      CheckCuda(Cuda().Memset(run.start, 0, run.pages * page_bytes()), action);
    }
    // cudaMemset is asynchronous, and onnxruntime's stream does not wait for the default stream, in which it happens.
    CheckCuda(Cuda().StreamSynchronize(nullptr), action);
  } catch (...) {
    Cuda().StreamSynchronize(nullptr);
    // Where this fails too, the device is lost.
    for (size_t index = 0; index < touched; index++) ToScratch(runs[index].start, runs[index].pages);
    throw;
  }
}

void CudaPages::Take(const PageRun& run) {
  ChooseDevice(device_);
  CheckDriver(ToScratch(run.start, run.pages), "Unmapping pages on CUDA device " + std::to_string(device_));
}

void CudaPages::GiveRun(const PageRun& run) const {
  const std::string action = "Mapping pages on CUDA device " + std::to_string(device_);
  for (size_t page = 0; page < run.pages; page++) {
    const Address at = AddressOf(run.start + page * page_bytes());
    CheckDriver(Driver().Unmap(at, page_bytes()), action);
    CheckDriver(Driver().Map(at, page_bytes(), 0, handles_[run.numbers[page]], 0), action);
  }
  CheckDriver(Allow(run.start, run.pages), action);
}

// Whatever is mapped there: after a failure some pages have no mapping. A page that keeps its mapping refuses the next
// one.
void CudaPages::UnmapAll(std::byte* start, size_t pages) const {
  for (size_t page = 0; page < pages; page++) Driver().Unmap(AddressOf(start + page * page_bytes()), page_bytes());
}

// These return the first error, but go on after it: as many pages as possible are to be harmless.

int CudaPages::MapScratch(std::byte* start, size_t pages) const {
  int first_error = 0;
  for (size_t page = 0; page < pages; page++) {
    const int error = Driver().Map(AddressOf(start + page * page_bytes()), page_bytes(), 0, handles_.back(), 0);
    if (first_error == 0) first_error = error;
  }
  const int error = Allow(start, pages);
  return first_error != 0 ? first_error : error;
}

int CudaPages::ToScratch(std::byte* start, size_t pages) const {
  UnmapAll(start, pages);
  return MapScratch(start, pages);
}

int CudaPages::Allow(std::byte* start, size_t pages) const {
  const AccessDescription description{{kOnDevice, device_}, kReadAndWrite};
  return Driver().SetAccess(AddressOf(start), pages * page_bytes(), &description, 1);
}

// A CUDA runtime without a GPU: memory is host memory, copies are made, kernels and matrix products are only written
// down. It shows what onnxruntime's CUDA provider would do on a card: which kernels, copies and waits, in which order,
// and how much memory. It proves nothing about results or time.
//
// Everything is declared here by name and layout, as the binaries expect it (CUDA 13, x86-64); no header of CUDA is
// needed. What the provider links to and this file does not define is filled in by build-stub.ts: it returns success.
//
//   CUDA_STUB_LOG=FILE      one line for each call that matters
//   CUDA_STUB_MIB=N         memory of the device, default 81920
//   CUDA_STUB_COPY_LIMIT=N  larger copies to the device are not made: large weights need no memory
//   CUDA_STUB_WAIT_ERROR=N  waiting for the device gives this error
//   CUDA_STUB_BROKEN=FILE    waiting for device N gives an illegal memory access while there is a FILE.N
//   CUDA_STUB_DEVICES=N     default 1; lines of calls for another one than the first end with ` on N`
//   CUDA_STUB_LOST_COPY=N   the Nth copy to the host fails
//   CUDA_STUB_STREAMS=1     a line before each copy, launch of a graph and wait: which stream it is in
#include <cxxabi.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <unordered_map>

namespace {

using Error = int;
using Stream = void*;
constexpr Error kSuccess = 0;
constexpr Error kInvalidValue = 1;
constexpr Error kOutOfMemory = 2;

/** Passed by value, so that its layout matters: three unsigned numbers. */
struct Dim3 {
  unsigned x, y, z;
};

size_t NumberOf(const char* variable, size_t otherwise) {
  const char* text = getenv(variable);
  return text == nullptr ? otherwise : strtoull(text, nullptr, 10);
}

const size_t kTotal = NumberOf("CUDA_STUB_MIB", 81920) << 20;
const size_t kCopyLimit = NumberOf("CUDA_STUB_COPY_LIMIT", SIZE_MAX);
const Error kCaptureError = static_cast<Error>(NumberOf("CUDA_STUB_CAPTURE_ERROR", 0));
const int kDevices = static_cast<int>(NumberOf("CUDA_STUB_DEVICES", 1));
const size_t kLostCopy = NumberOf("CUDA_STUB_LOST_COPY", 0);
const bool kTellStreams = NumberOf("CUDA_STUB_STREAMS", 0) != 0;
const Error kWaitError = static_cast<Error>(NumberOf("CUDA_STUB_WAIT_ERROR", 0));
constexpr size_t kPage = 4096;
/** What the runtime chooses for each thread. */
thread_local int current_device = 0;

int LogFile() {
  static const int file = [] {
    const char* path = getenv("CUDA_STUB_LOG");
    return path == nullptr ? -1 : open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
  }();
  return file;
}

/** Blocks of memory by their first address: of the device, or of the host and pinned. */
class Blocks {
 public:
  void Add(void* start, size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    blocks_[start] = bytes;
    used_ += bytes;
  }
  /** Bytes of the block that was removed; 0 for an unknown one. */
  size_t Remove(void* start) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = blocks_.find(start);
    if (found == blocks_.end()) return 0;
    const size_t bytes = found->second;
    blocks_.erase(found);
    used_ -= bytes;
    return bytes;
  }
  bool Holds(const void* address) {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto next = blocks_.upper_bound(const_cast<void*>(address));
    if (next == blocks_.begin()) return false;
    --next;
    return static_cast<const char*>(address) < static_cast<const char*>(next->first) + next->second;
  }
  size_t used() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return used_;
  }

 private:
  std::mutex mutex_;
  std::map<void*, size_t> blocks_;
  size_t used_ = 0;
};

// Never destroyed: the provider frees memory while the process ends.
Blocks& DeviceMemory() {
  static auto* blocks = new Blocks;
  return *blocks;
}
Blocks& PinnedMemory() {
  static auto* blocks = new Blocks;
  return *blocks;
}

std::mutex names_mutex;
/** Names of kernels by the address of their host function. */
std::unordered_map<const void*, std::string>& KernelNames() {
  static auto* names = new std::unordered_map<const void*, std::string>;
  return *names;
}

}  // namespace

extern "C" {

void StubLog(const char* format, ...) {
  if (LogFile() < 0) return;
  char line[2048];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(line, sizeof line - 1, format, arguments);
  va_end(arguments);
  const int most = sizeof line - 16;
  if (length > most) length = most;
  if (current_device != 0) length += snprintf(line + length, 12, " on %d", current_device);
  line[length++] = '\n';
  if (write(LogFile(), line, length) < 0) return;
}

}  // extern "C"

namespace {

void* NewHandle() { return calloc(1, 256); }

/** Handles are addresses that nobody looks behind. */
Error Create(void** handle) {
  *handle = NewHandle();
  return kSuccess;
}

Error Destroy(void* handle) {
  free(handle);
  return kSuccess;
}

void TellStream(Stream stream) {
  if (kTellStreams) StubLog("STREAM %p", stream);
}

Error Wait(const char* what) {
  StubLog("WAIT %s", what);
  static const char* const broken = getenv("CUDA_STUB_BROKEN");
  constexpr Error kIllegalAddress = 700;
  if (broken != nullptr && access((std::string(broken) + "." + std::to_string(current_device)).c_str(), F_OK) == 0)
    return kIllegalAddress;
  return kWaitError;
}

Error Launch(const void* function, Dim3 grid, Dim3 block) {
  if (LogFile() < 0) return kSuccess;
  std::string name = "unknown";
  {
    const std::lock_guard<std::mutex> lock(names_mutex);
    const auto found = KernelNames().find(function);
    if (found != KernelNames().end()) name = found->second;
  }
  int status = 0;
  char* readable = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  StubLog("KERNEL %.400s grid=%u,%u,%u block=%u", readable != nullptr ? readable : name.c_str(), grid.x, grid.y, grid.z,
          block.x * block.y * block.z);
  free(readable);
  return kSuccess;
}

const char* KindOf(int kind) {
  const char* const names[] = {"host-host", "host-device", "device-host", "device-device", "any"};
  return names[kind < 0 || kind > 4 ? 4 : kind];
}

Error Copy(void* to, const void* from, size_t bytes, int kind, const char* how) {
  // To the host all is copied: the program reads it.
  if (bytes <= kCopyLimit || kind == 2) memcpy(to, from, bytes);
  const void* host = kind == 1 ? from : to;
  const bool pinned = kind == 3 || PinnedMemory().Holds(host);
  StubLog("COPY %s %zu %s %s", KindOf(kind), bytes, how, pinned ? "pinned" : "pageable");
  static std::atomic<size_t> to_host{0};
  return kind == 2 && ++to_host == kLostCopy ? kOutOfMemory : kSuccess;
}

Error Fill(void* memory, int value, size_t bytes) {
  // Memory starts as zeros. Large blocks are not touched, so that they take no real memory; pages that had an owner
  // before (cuda-pages-stub.cc) become zeros again without it.
  if (bytes < (size_t{64} << 20)) {
    memset(memory, value, bytes);
  } else {
    madvise(memory, bytes, MADV_REMOVE);
  }
  StubLog("FILL %zu", bytes);
  return kSuccess;
}

/** Of the thread's device, once. Since CUDA 12 also cudaSetDevice makes it. */
void MakeContext() {
  static std::atomic<unsigned> made{0};
  const unsigned device = 1U << current_device;
  if ((made.fetch_or(device) & device) == 0) StubLog("CONTEXT");
}

thread_local bool capturing = false;
struct Call {
  Dim3 grid, block;
  size_t shared;
  Stream stream;
};
thread_local Call pushed[8];
thread_local int pushed_count = 0;

}  // namespace

extern "C" {

// What compiled kernels call.
void** __cudaRegisterFatBinary(void*) { return static_cast<void**>(NewHandle()); }
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}
void __cudaRegisterFunction(void**, const char* host, char*, const char* name, int, void*, void*, void*, void*, int*) {
  const std::lock_guard<std::mutex> lock(names_mutex);
  KernelNames()[host] = name;
}
unsigned __cudaPushCallConfiguration(Dim3 grid, Dim3 block, size_t shared, Stream stream) {
  pushed[pushed_count++] = {grid, block, shared, stream};
  return 0;
}
Error __cudaPopCallConfiguration(Dim3* grid, Dim3* block, size_t* shared, void* stream) {
  const Call& call = pushed[--pushed_count];
  *grid = call.grid;
  *block = call.block;
  *shared = call.shared;
  *static_cast<Stream*>(stream) = call.stream;
  return kSuccess;
}
Error __cudaGetKernel(const void** kernel, const void* host) {
  *kernel = host;
  return kSuccess;
}
Error __cudaLaunchKernel(const void* kernel, Dim3 grid, Dim3 block, void**, size_t, Stream) {
  return Launch(kernel, grid, block);
}
Error cudaLaunchKernel(const void* function, Dim3 grid, Dim3 block, void**, size_t, Stream) {
  return Launch(function, grid, block);
}
/** The launch's description begins with grid and block. */
Error cudaLaunchKernelExC(const Dim3* description, const void* function, void**) {
  return Launch(function, description[0], description[1]);
}
Error cudaFuncGetAttributes(void* attributes, const void*) {
  auto* bytes = static_cast<char*>(attributes);
  const struct {
    int offset, value;
  } numbers[] = {{24, 1024}, {28, 64}, {32, 90}, {36, 90}, {44, 232448}};  // threads, registers, PTX, code, shared memory
  memset(attributes, 0, 144);
  for (const auto& [offset, value] : numbers) memcpy(bytes + offset, &value, sizeof value);
  return kSuccess;
}
Error cudaLibraryGetKernel(const void** kernel, void*, const char* name) {
  const char* copy = strdup(name);
  const std::lock_guard<std::mutex> lock(names_mutex);
  KernelNames()[copy] = name;
  *kernel = copy;
  return kSuccess;
}
Error cudaLibraryLoadData(void** library, const void*, void*, void*, unsigned, void*, void*, unsigned) {
  return Create(library);
}
Error cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*, int, size_t, unsigned) {
  *blocks = 2;
  return kSuccess;
}

// The device: one like an H100.
Error cudaGetDevice(int* device) {
  *device = current_device;
  return kSuccess;
}
Error cudaGetDeviceCount(int* count) {
  *count = kDevices;
  return kSuccess;
}
Error cudaDriverGetVersion(int* version) {
  *version = 13000;
  return kSuccess;
}
Error cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }
Error cudaSetDevice(int device) {
  if (device < 0 || device >= kDevices) return 101;
  current_device = device;
  MakeContext();
  return kSuccess;
}
Error cudaDeviceGetAttribute(int* value, int attribute, int) {
  static const std::unordered_map<int, int> known = {
      {75, 9},      {76, 0},      {16, 132},    {97, 232448}, {8, 49152},      {81, 233472}, {1, 1024},
      {39, 2048},   {10, 32},     {12, 65536},  {115, 1},     {38, 50 << 20},
  };
  const auto found = known.find(attribute);
  *value = found == known.end() ? 1 : found->second;
  return kSuccess;
}
/** cudaDeviceProp of CUDA 13: 1,008 bytes. */
Error cudaGetDeviceProperties(void* properties, int) {
  auto* bytes = static_cast<char*>(properties);
  memset(bytes, 0, 1008);
  strcpy(bytes, "Stub of an H100");
  const struct {
    size_t offset, value;
  } sizes[] = {{288, kTotal}, {296, 49152}, {624, 233472}, {672, 232448}};
  const struct {
    size_t offset;
    int value;
  } numbers[] = {{304, 65536}, {308, 32},    {320, 1024},  {324, 1024},    {328, 1024}, {332, 64},
                 {336, INT32_MAX}, {340, 65535}, {344, 65535}, {360, 9},   {364, 0},    {384, 132},
                 {588, 1},     {592, 5120},  {596, 50 << 20}, {604, 2048}, {632, 65536}, {688, 32}};
  for (const auto& [offset, value] : sizes) memcpy(bytes + offset, &value, sizeof value);
  for (const auto& [offset, value] : numbers) memcpy(bytes + offset, &value, sizeof value);
  return kSuccess;
}
Error cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, unsigned long long, int* result) {
  *function = dlsym(RTLD_DEFAULT, name);
  if (result != nullptr) *result = 0;
  return kSuccess;
}

// Memory.
Error cudaMemGetInfo(size_t* free_bytes, size_t* total) {
  *total = kTotal;
  *free_bytes = kTotal - DeviceMemory().used();
  return kSuccess;
}
Error cudaMalloc(void** memory, size_t bytes) {
  MakeContext();
  const size_t rounded = bytes == 0 ? kPage : (bytes + kPage - 1) / kPage * kPage;
  *memory = nullptr;
  if (rounded > kTotal - DeviceMemory().used()) {
    StubLog("ALLOCATE refused %zu", bytes);
    return kOutOfMemory;
  }
  void* mapped =
      mmap(nullptr, rounded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return kOutOfMemory;
  DeviceMemory().Add(mapped, rounded);
  *memory = mapped;
  StubLog("ALLOCATE %zu", bytes);
  return kSuccess;
}
// Physical pages (cuda-pages-stub.cc). Their numbers are far below all addresses.
bool StubTakeMemory(uint64_t page, size_t bytes) {
  if (bytes > kTotal - DeviceMemory().used()) return false;
  DeviceMemory().Add(reinterpret_cast<void*>(page), bytes);
  return true;
}
void StubGiveMemory(uint64_t page) { DeviceMemory().Remove(reinterpret_cast<void*>(page)); }
Error cudaFree(void* memory) {
  if (memory == nullptr) return kSuccess;
  const size_t bytes = DeviceMemory().Remove(memory);
  if (bytes == 0) return kInvalidValue;
  munmap(memory, bytes);
  StubLog("FREE %zu", bytes);
  return kSuccess;
}
Error cudaMallocFromPoolAsync(void** memory, size_t bytes, void*, Stream) { return cudaMalloc(memory, bytes); }
Error cudaFreeAsync(void* memory, Stream) { return cudaFree(memory); }
Error cudaHostAlloc(void** memory, size_t bytes, unsigned) {
  MakeContext();
  const size_t rounded = (bytes + kPage) / kPage * kPage;
  *memory = aligned_alloc(kPage, rounded);
  PinnedMemory().Add(*memory, rounded);
  StubLog("PIN %zu", bytes);
  return kSuccess;
}
Error cudaMallocHost(void** memory, size_t bytes) { return cudaHostAlloc(memory, bytes, 0); }
Error cudaFreeHost(void* memory) {
  PinnedMemory().Remove(memory);
  free(memory);
  return kSuccess;
}
Error cudaMemcpy(void* to, const void* from, size_t bytes, int kind) { return Copy(to, from, bytes, kind, "waiting"); }
Error cudaMemcpyAsync(void* to, const void* from, size_t bytes, int kind, Stream stream) {
  TellStream(stream);
  return Copy(to, from, bytes, kind, "queued");
}
Error cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t height,
                        int kind, Stream) {
  for (size_t row = 0; row < height; row++) {
    memcpy(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch, width);
  }
  StubLog("COPY %s %zu queued %s", KindOf(kind), width * height, kind == 3 ? "pinned" : "pageable");
  return kSuccess;
}
Error cudaMemcpyFromSymbol(void* to, const void*, size_t bytes, size_t, int) {
  memset(to, 0, bytes);
  return kSuccess;
}
Error cudaMemset(void* memory, int value, size_t bytes) { return Fill(memory, value, bytes); }
Error cudaMemsetAsync(void* memory, int value, size_t bytes, Stream) { return Fill(memory, value, bytes); }
Error cudaMemPoolCreate(void** pool, const void*) { return Create(pool); }
Error cudaMemPoolDestroy(void* pool) { return Destroy(pool); }
Error cudaMemPoolGetAttribute(void*, int, void* value) {
  memset(value, 0, sizeof(size_t));
  return kSuccess;
}

// Streams, events, graphs: everything is done when its call returns.
Error cudaStreamCreateWithFlags(Stream* stream, unsigned) {
  MakeContext();
  return Create(stream);
}
Error cudaStreamCreate(Stream* stream) { return cudaStreamCreateWithFlags(stream, 0); }
Error cudaStreamDestroy(Stream stream) { return Destroy(stream); }
Error cudaStreamSynchronize(Stream stream) {
  TellStream(stream);
  return Wait("stream");
}
Error cudaDeviceSynchronize() { return Wait("device"); }
Error cudaEventSynchronize(void*) { return Wait("event"); }
Error cudaEventCreate(void** event) { return Create(event); }
Error cudaEventCreateWithFlags(void** event, unsigned) { return Create(event); }
Error cudaEventDestroy(void* event) { return Destroy(event); }
Error cudaEventElapsedTime(float* milliseconds, void*, void*) {
  *milliseconds = 0;
  return kSuccess;
}
Error cudaLaunchHostFunc(Stream, void (*function)(void*), void* data) {
  function(data);
  return kSuccess;
}
Error cudaStreamIsCapturing(Stream, int* status) {
  *status = capturing ? 1 : 0;
  return kSuccess;
}
Error cudaStreamBeginCapture(Stream, int) {
  if (kCaptureError != kSuccess) return kCaptureError;
  capturing = true;
  StubLog("GRAPH begin");
  return kSuccess;
}
Error cudaStreamEndCapture(Stream, void** graph) {
  capturing = false;
  StubLog("GRAPH end");
  return Create(graph);
}
Error cudaGraphInstantiate(void** executable, void*, unsigned long long) { return Create(executable); }
Error cudaGraphLaunch(void*, Stream stream) {
  TellStream(stream);
  StubLog("GRAPH launch");
  return kSuccess;
}

// The words of the real runtime, as far as the project tells errors apart by them.
const char* cudaGetErrorString(Error error) {
  switch (error) {
    case 0:
      return "no error";
    case kOutOfMemory:
      return "out of memory";
    case 101:
      return "invalid device ordinal";
    case 214:
      return "uncorrectable ECC error encountered";
    case 700:
      return "an illegal memory access was encountered";
    case 719:
      return "unspecified launch failure";
    default:
      return "unknown error";
  }
}
const char* cudaGetErrorName(Error error) { return error == 0 ? "cudaSuccess" : "cudaErrorOfTheStub"; }

// cuBLAS.
int cublasCreate_v2(void** handle) { return Create(handle); }
int cublasLtCreate(void** handle) { return Create(handle); }
int cublasLtMatmulDescCreate(void** handle, int, int) { return Create(handle); }
int cublasLtMatmulPreferenceCreate(void** handle) { return Create(handle); }
int cublasLtMatrixLayoutCreate(void** handle, int, uint64_t, uint64_t, int64_t) { return Create(handle); }
int cublasLtMatrixTransformDescCreate(void** handle, int) { return Create(handle); }
const char* cublasGetStatusName(int) { return "stub"; }
const char* cublasGetStatusString(int) { return "stub"; }
int cublasGetMathMode(void*, int* mode) {
  *mode = 0;
  return 0;
}
/** A result is an algorithm of 8 numbers, a workspace size, a state (0 = good) and more: 96 bytes. */
int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int wanted, void* results, int* found) {
  memset(results, 0, 96 * static_cast<size_t>(wanted));
  *found = wanted;
  return 0;
}
int cublasGemmEx(void*, int, int, int m, int n, int k, const void*, const void*, int type) {
  StubLog("GEMM m=%d n=%d k=%d type=%d", m, n, k, type);
  return 0;
}
int cublasGemmStridedBatchedEx(void*, int, int, int m, int n, int k, const void*, const void*, int type) {
  StubLog("GEMM m=%d n=%d k=%d type=%d batched", m, n, k, type);
  return 0;
}
int cublasSgemm_v2(void*, int, int, int m, int n, int k) {
  StubLog("GEMM m=%d n=%d k=%d type=0", m, n, k);
  return 0;
}
int cublasLtMatmul() {
  StubLog("GEMM lt");
  return 0;
}

}  // extern "C"

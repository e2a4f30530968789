// The part of onnxruntime's C API that this addon calls. We declare it ourselves, because no npm package has
// onnxruntime's headers. OrtApi is a table of function pointers that only grows at its end. So the index of a function
// is part of the ABI and is the same in every version from API_VERSION on. ort-library.cc checks the table before it is
// used.
#pragma once

#include <cstddef>
#include <cstdint>

struct OrtEnv;
struct OrtStatus;
struct OrtSession;
struct OrtSessionOptions;
struct OrtRunOptions;
struct OrtValue;
struct OrtMemoryInfo;
struct OrtAllocator;
struct OrtIoBinding;
struct OrtCudaOptions;

namespace ort {

constexpr uint32_t API_VERSION = 22;

struct ApiBase {
  const void* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};

// enum values of the C API that we use
constexpr int DEVICE_ALLOCATOR = 0;
constexpr int DEFAULT_MEMORY = 0;
constexpr int ALL_OPTIMISATIONS = 99;
constexpr int LOG_ERRORS = 3;
constexpr int CODE_FAIL = 1;

// X(index in the table, name, arguments): functions that return a status, null on success.
#define ORT_STATUS_FUNCTIONS(X)                                                                                        \
  X(3, CreateEnv, int severity, const char* name, OrtEnv** out)                                                        \
  X(8, CreateSessionFromArray, OrtEnv*, const void* model, size_t bytes, const OrtSessionOptions*, OrtSession** out)   \
  X(10, CreateSessionOptions, OrtSessionOptions** out)                                                                 \
  X(22, SetSessionLogSeverityLevel, OrtSessionOptions*, int severity)                                                  \
  X(23, SetSessionGraphOptimizationLevel, OrtSessionOptions*, int level)                                               \
  X(24, SetIntraOpNumThreads, OrtSessionOptions*, int threads)                                                         \
  X(30, SessionGetInputCount, const OrtSession*, size_t* out)                                                          \
  X(31, SessionGetOutputCount, const OrtSession*, size_t* out)                                                         \
  X(36, SessionGetInputName, const OrtSession*, size_t index, OrtAllocator*, char** out)                               \
  X(37, SessionGetOutputName, const OrtSession*, size_t index, OrtAllocator*, char** out)                              \
  X(39, CreateRunOptions, OrtRunOptions** out)                                                                         \
  X(46, RunOptionsSetTerminate, OrtRunOptions*)                                                                        \
  X(49, CreateTensorWithDataAsOrtValue, const OrtMemoryInfo*, void* data, size_t bytes, const int64_t* dims,           \
    size_t rank, int type, OrtValue** out)                                                                             \
  X(68, CreateMemoryInfo, const char* name, int allocator, int device, int memory, OrtMemoryInfo** out)                \
  X(76, AllocatorFree, OrtAllocator*, void* memory)                                                                    \
  X(78, GetAllocatorWithDefaultOptions, OrtAllocator** out)                                                            \
  X(130, AddSessionConfigEntry, OrtSessionOptions*, const char* key, const char* value)                                \
  X(133, RunWithBinding, OrtSession*, const OrtRunOptions*, const OrtIoBinding*)                                       \
  X(134, CreateIoBinding, OrtSession*, OrtIoBinding** out)                                                             \
  X(136, BindInput, OrtIoBinding*, const char* name, const OrtValue*)                                                  \
  X(137, BindOutput, OrtIoBinding*, const char* name, const OrtValue*)                                                 \
  X(165, AddRunConfigEntry, OrtRunOptions*, const char* key, const char* value)                                        \
  X(204, SessionOptionsAppendExecutionProvider_CUDA_V2, OrtSessionOptions*, const OrtCudaOptions*)                     \
  X(205, CreateCUDAProviderOptions, OrtCudaOptions** out)                                                              \
  X(206, UpdateCUDAProviderOptions, OrtCudaOptions*, const char* const* keys, const char* const* values, size_t count)

// X(index in the table, name, arguments): functions that return nothing.
#define ORT_VOID_FUNCTIONS(X)                      \
  X(93, ReleaseStatus, OrtStatus*)                 \
  X(94, ReleaseMemoryInfo, OrtMemoryInfo*)         \
  X(95, ReleaseSession, OrtSession*)               \
  X(96, ReleaseValue, OrtValue*)                   \
  X(97, ReleaseRunOptions, OrtRunOptions*)         \
  X(100, ReleaseSessionOptions, OrtSessionOptions*) \
  X(135, ReleaseIoBinding, OrtIoBinding*)          \
  X(141, ClearBoundInputs, OrtIoBinding*)          \
  X(142, ClearBoundOutputs, OrtIoBinding*)         \
  X(208, ReleaseCUDAProviderOptions, OrtCudaOptions*)

/** Every function we call, by its name in the C API. */
struct Api {
  OrtStatus* (*CreateStatus)(int code, const char* message);  // index 0
  int (*GetErrorCode)(const OrtStatus*);                      // index 1
  const char* (*GetErrorMessage)(const OrtStatus*);           // index 2
#define DECLARE_STATUS(index, name, ...) OrtStatus* (*name)(__VA_ARGS__);
#define DECLARE_VOID(index, name, ...) void (*name)(__VA_ARGS__);
  ORT_STATUS_FUNCTIONS(DECLARE_STATUS)
  ORT_VOID_FUNCTIONS(DECLARE_VOID)
#undef DECLARE_STATUS
#undef DECLARE_VOID
};

}  // namespace ort

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
struct OrtCustomOp;
struct OrtCustomOpDomain;
struct OrtKernelInfo;
struct OrtKernelContext;
struct OrtOp;
struct OrtOpAttr;
struct OrtTensorShape;

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
constexpr int FLOAT = 1;
constexpr int UINT8 = 2;
constexpr int INT32 = 6;
constexpr int OPTIONAL = 1;
constexpr int ATTRIBUTE_INT = 1;
constexpr int ATTRIBUTE_FLOAT = 3;

// X(index in the table, name, arguments): functions that return a status, null on success.
#define ORT_STATUS_FUNCTIONS(X)                                                                                        \
  X(3, CreateEnv, int severity, const char* name, OrtEnv** out)                                                        \
  X(8, CreateSessionFromArray, OrtEnv*, const void* model, size_t bytes, const OrtSessionOptions*, OrtSession** out)   \
  X(10, CreateSessionOptions, OrtSessionOptions** out)                                                                 \
  X(22, SetSessionLogSeverityLevel, OrtSessionOptions*, int severity)                                                  \
  X(23, SetSessionGraphOptimizationLevel, OrtSessionOptions*, int level)                                               \
  X(24, SetIntraOpNumThreads, OrtSessionOptions*, int threads)                                                         \
  X(26, CreateCustomOpDomain, const char* domain, OrtCustomOpDomain** out)                                             \
  X(27, CustomOpDomain_Add, OrtCustomOpDomain*, const OrtCustomOp*)                                                    \
  X(28, AddCustomOpDomain, OrtSessionOptions*, OrtCustomOpDomain*)                                                     \
  X(30, SessionGetInputCount, const OrtSession*, size_t* out)                                                          \
  X(31, SessionGetOutputCount, const OrtSession*, size_t* out)                                                         \
  X(36, SessionGetInputName, const OrtSession*, size_t index, OrtAllocator*, char** out)                               \
  X(37, SessionGetOutputName, const OrtSession*, size_t index, OrtAllocator*, char** out)                              \
  X(39, CreateRunOptions, OrtRunOptions** out)                                                                         \
  X(46, RunOptionsSetTerminate, OrtRunOptions*)                                                                        \
  X(49, CreateTensorWithDataAsOrtValue, const OrtMemoryInfo*, void* data, size_t bytes, const int64_t* dims,           \
    size_t rank, int type, OrtValue** out)                                                                             \
  X(51, GetTensorMutableData, OrtValue*, void** out)                                                                   \
  X(61, GetDimensionsCount, const OrtTensorShape*, size_t* out)                                                        \
  X(62, GetDimensions, const OrtTensorShape*, int64_t* dims, size_t rank)                                              \
  X(65, GetTensorTypeAndShape, const OrtValue*, OrtTensorShape** out)                                                  \
  X(68, CreateMemoryInfo, const char* name, int allocator, int device, int memory, OrtMemoryInfo** out)                \
  X(76, AllocatorFree, OrtAllocator*, void* memory)                                                                    \
  X(78, GetAllocatorWithDefaultOptions, OrtAllocator** out)                                                            \
  X(85, KernelInfoGetAttribute_float, const OrtKernelInfo*, const char* name, float* out)                              \
  X(86, KernelInfoGetAttribute_int64, const OrtKernelInfo*, const char* name, int64_t* out)                            \
  X(90, KernelContext_GetInput, const OrtKernelContext*, size_t index, const OrtValue** out)                           \
  X(91, KernelContext_GetOutput, OrtKernelContext*, size_t index, const int64_t* dims, size_t rank, OrtValue** out)    \
  X(130, AddSessionConfigEntry, OrtSessionOptions*, const char* key, const char* value)                                \
  X(133, RunWithBinding, OrtSession*, const OrtRunOptions*, const OrtIoBinding*)                                       \
  X(134, CreateIoBinding, OrtSession*, OrtIoBinding** out)                                                             \
  X(136, BindInput, OrtIoBinding*, const char* name, const OrtValue*)                                                  \
  X(137, BindOutput, OrtIoBinding*, const char* name, const OrtValue*)                                                 \
  X(165, AddRunConfigEntry, OrtRunOptions*, const char* key, const char* value)                                        \
  X(204, SessionOptionsAppendExecutionProvider_CUDA_V2, OrtSessionOptions*, const OrtCudaOptions*)                     \
  X(205, CreateCUDAProviderOptions, OrtCudaOptions** out)                                                              \
  X(206, UpdateCUDAProviderOptions, OrtCudaOptions*, const char* const* keys, const char* const* values, size_t count) \
  X(211, CreateOpAttr, const char* name, const void* data, int count, int type, OrtOpAttr** out)                       \
  X(213, CreateOp, const OrtKernelInfo*, const char* name, const char* domain, int version, const char** types,        \
    const int* values, int type_count, const OrtOpAttr* const* attributes, int attribute_count, int inputs,            \
    int outputs, OrtOp** out)                                                                                          \
  X(214, InvokeOp, const OrtKernelContext*, const OrtOp*, const OrtValue* const* inputs, int input_count,              \
    OrtValue* const* outputs, int output_count)                                                                        \
  X(274, KernelContext_ParallelFor, const OrtKernelContext*, void (*task)(void* data, size_t index), size_t tasks,     \
    size_t batches, void* data)

// X(index in the table, name, arguments): functions that return nothing.
#define ORT_VOID_FUNCTIONS(X)                      \
  X(93, ReleaseStatus, OrtStatus*)                 \
  X(94, ReleaseMemoryInfo, OrtMemoryInfo*)         \
  X(95, ReleaseSession, OrtSession*)               \
  X(96, ReleaseValue, OrtValue*)                   \
  X(97, ReleaseRunOptions, OrtRunOptions*)         \
  X(99, ReleaseTensorTypeAndShapeInfo, OrtTensorShape*) \
  X(100, ReleaseSessionOptions, OrtSessionOptions*) \
  X(135, ReleaseIoBinding, OrtIoBinding*)          \
  X(141, ClearBoundInputs, OrtIoBinding*)          \
  X(142, ClearBoundOutputs, OrtIoBinding*)         \
  X(208, ReleaseCUDAProviderOptions, OrtCudaOptions*) \
  X(212, ReleaseOpAttr, OrtOpAttr*)                   \
  X(215, ReleaseOp, OrtOp*)

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

/** A kernel of our own, as onnxruntime calls it. The fields up to version API_VERSION of its API. */
struct OrtCustomOp {
  uint32_t version;
  void* (*CreateKernel)(const OrtCustomOp*, const void* api, const OrtKernelInfo*);  // not called: see V2
  const char* (*GetName)(const OrtCustomOp*);
  const char* (*GetExecutionProviderType)(const OrtCustomOp*);  // null: the CPU
  int (*GetInputType)(const OrtCustomOp*, size_t index);
  size_t (*GetInputTypeCount)(const OrtCustomOp*);
  int (*GetOutputType)(const OrtCustomOp*, size_t index);
  size_t (*GetOutputTypeCount)(const OrtCustomOp*);
  void (*KernelCompute)(void* kernel, OrtKernelContext*);  // not called: see V2
  void (*KernelDestroy)(void* kernel);
  int (*GetInputCharacteristic)(const OrtCustomOp*, size_t index);  // 0: required
  int (*GetOutputCharacteristic)(const OrtCustomOp*, size_t index);
  int (*GetInputMemoryType)(const OrtCustomOp*, size_t index);  // 0: the device's
  int (*GetVariadicInputMinArity)(const OrtCustomOp*);
  int (*GetVariadicInputHomogeneity)(const OrtCustomOp*);
  int (*GetVariadicOutputMinArity)(const OrtCustomOp*);
  int (*GetVariadicOutputHomogeneity)(const OrtCustomOp*);
  OrtStatus* (*CreateKernelV2)(const OrtCustomOp*, const void* api, const OrtKernelInfo*, void** kernel);
  OrtStatus* (*KernelComputeV2)(void* kernel, OrtKernelContext*);
  OrtStatus* (*InferOutputShapeFn)(const OrtCustomOp*, void* context);  // may be null
  int (*GetStartVersion)(const OrtCustomOp*);
  int (*GetEndVersion)(const OrtCustomOp*);
  size_t (*GetMayInplace)(int** inputs, int** outputs);  // may be null
  void (*ReleaseMayInplace)(int* inputs, int* outputs);
  size_t (*GetAliasMap)(int** inputs, int** outputs);
  void (*ReleaseAliasMap)(int* inputs, int* outputs);
};

// The loaded libonnxruntime: one per process, never unloaded, shared by every thread and with onnxruntime-node.
#pragma once

#include <memory>
#include <string>

#include "ort-api.h"

namespace ort {

/**
 * Loads libonnxruntime from an absolute path and checks that its function table is the one ort-api.h declares.
 * Later calls return at once and ignore their path. Returns the library's version. Throws std::runtime_error.
 */
std::string LoadLibrary(const std::string& path);

/** The function table. Throws std::logic_error before LoadLibrary. */
const Api& GetApi();

/** The process's one OrtEnv. */
OrtEnv* GetEnv();

/** Throws the message of a status as std::runtime_error and frees the status. */
void Check(OrtStatus* status);

/** An owned object of the C API: Handle<OrtSession, &Api::ReleaseSession>. */
template <typename T, void (*Api::*Release)(T*)>
struct Releaser {
  void operator()(T* object) const { (GetApi().*Release)(object); }
};
template <typename T, void (*Api::*Release)(T*)>
using Handle = std::unique_ptr<T, Releaser<T, Release>>;

using SessionHandle = Handle<OrtSession, &Api::ReleaseSession>;
using SessionOptionsHandle = Handle<OrtSessionOptions, &Api::ReleaseSessionOptions>;
using RunOptionsHandle = Handle<OrtRunOptions, &Api::ReleaseRunOptions>;
using ValueHandle = Handle<OrtValue, &Api::ReleaseValue>;
using MemoryInfoHandle = Handle<OrtMemoryInfo, &Api::ReleaseMemoryInfo>;
using IoBindingHandle = Handle<OrtIoBinding, &Api::ReleaseIoBinding>;
using CudaOptionsHandle = Handle<OrtCudaOptions, &Api::ReleaseCUDAProviderOptions>;
using TensorShapeHandle = Handle<OrtTensorShape, &Api::ReleaseTensorTypeAndShapeInfo>;
using OpHandle = Handle<OrtOp, &Api::ReleaseOp>;
using OpAttributeHandle = Handle<OrtOpAttr, &Api::ReleaseOpAttr>;

}  // namespace ort

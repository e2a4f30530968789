// The CUDA runtime that onnxruntime's CUDA provider uses too, found when it is first needed.
#pragma once

#include <dlfcn.h>

#include <cstddef>
#include <stdexcept>
#include <string>

struct CudaRuntime {
  int (*SetDevice)(int device);
  int (*Malloc)(void** memory, size_t bytes);
  int (*Memset)(void* memory, int value, size_t bytes);
  int (*MallocHost)(void** memory, size_t bytes);
  int (*FreeHost)(void* memory);
  int (*Memcpy)(void* target, const void* source, size_t bytes, int kind);
  int (*MemcpyAsync)(void* target, const void* source, size_t bytes, int kind, void* stream);
  int (*StreamCreateWithFlags)(void** stream, unsigned flags);
  int (*StreamDestroy)(void* stream);
  int (*StreamSynchronize)(void* stream);
  int (*Free)(void* memory);
  const char* (*GetErrorString)(int error);
};

/** Throws std::runtime_error when the library is missing. */
const CudaRuntime& Cuda();

/** Throws std::runtime_error with the runtime's message when `error` is one. */
void CheckCuda(int error, const std::string& action);

/** Sets `target` to a function of a library. Throws std::runtime_error when `library` lacks it. */
template <typename Function>
void BindFunction(Function& target, void* handle, const char* name, const char* library) {
  target = reinterpret_cast<Function>(dlsym(handle, name));
  if (target == nullptr) throw std::runtime_error(std::string(library) + " lacks " + name + ".");
}

/**
 * What this thread asks of CUDA from now on is for this device. It is not undone: choosing a device makes a context on
 * it, which would take hundreds of megabytes of the first card for every process that works on another one. Throws
 * std::runtime_error with the runtime's message.
 */
void ChooseDevice(int device);

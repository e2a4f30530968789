// A pipe to a child process, with a larger buffer than the standard library's.
#pragma once

#include <napi.h>

/**
 * openPipe(bytes): [read, write], file descriptors that no child inherits by itself. The buffer has `bytes` bytes where
 * the kernel allows it. Reading does not block. Undefined where the process may open no more files.
 */
Napi::Value OpenPipe(const Napi::CallbackInfo& info);

/** closeDescriptor(descriptor). In a worker thread, fs.close would warn of a descriptor that fs did not open. */
void CloseDescriptor(const Napi::CallbackInfo& info);

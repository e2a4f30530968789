// The JavaScript functions for sessions. A handle lives until releaseSession or until it is garbage-collected.
#pragma once

#include <napi.h>

/** loadOnnxRuntime(path) → version; throws when the library is missing or not a supported onnxruntime. */
Napi::Value LoadOnnxRuntime(const Napi::CallbackInfo& info);

/**
 * createSession(model, config, done) → handle; calls done() when the graph is loaded, done(message) when that failed.
 */
Napi::Value CreateSession(const Napi::CallbackInfo& info);

/** sessionNames(handle) → { inputs, outputs }, once the session is loaded. */
Napi::Value SessionNames(const Napi::CallbackInfo& info);

/**
 * runSession(handle, layout, memory, done) → ticket; `layout` and `memory` as in tensor-layout.h, inputs then outputs.
 */
Napi::Value RunSession(const Napi::CallbackInfo& info);

/** terminateRun(handle, ticket): the run ends between two graph nodes, with an error. */
void TerminateRun(const Napi::CallbackInfo& info);

/** releaseSession(handle, done): frees the session after the runs requested before. */
void ReleaseSession(const Napi::CallbackInfo& info);

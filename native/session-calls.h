// Sessions as JavaScript calls them. A handle is alive until releaseSession or until it is garbage.
#pragma once

#include <napi.h>

/** loadOnnxRuntime(path) → version; throws when the library is missing or of another kind. */
Napi::Value LoadOnnxRuntime(const Napi::CallbackInfo& info);

/** createSession(model, config, done) → handle; done(message?) when the graph is loaded, or why it is not. */
Napi::Value CreateSession(const Napi::CallbackInfo& info);

/** sessionNames(handle) → { inputs, outputs }, once the session is loaded. */
Napi::Value SessionNames(const Napi::CallbackInfo& info);

/** runSession(handle, layout, lent, done) → ticket; `layout` and `lent` as in tensor-layout.h, inputs then outputs. */
Napi::Value RunSession(const Napi::CallbackInfo& info);

/** terminateRun(handle, ticket): the run ends between two graph nodes, with an error. */
void TerminateRun(const Napi::CallbackInfo& info);

/** releaseSession(handle, done): frees the session after the runs that were asked for before. */
void ReleaseSession(const Napi::CallbackInfo& info);

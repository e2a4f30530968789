// The functions that JavaScript can call. Their types are in src/base/native.ts.
#include <napi.h>

#include "parent-death.h"
#include "pixels.h"
#include "session-calls.h"
#include "slab-calls.h"

namespace {

Napi::Object Initialise(Napi::Env env, Napi::Object exports) {
  exports.Set("loadOnnxRuntime", Napi::Function::New(env, LoadOnnxRuntime));
  exports.Set("createSession", Napi::Function::New(env, CreateSession));
  exports.Set("sessionNames", Napi::Function::New(env, SessionNames));
  exports.Set("runSession", Napi::Function::New(env, RunSession));
  exports.Set("terminateRun", Napi::Function::New(env, TerminateRun));
  exports.Set("releaseSession", Napi::Function::New(env, ReleaseSession));
  exports.Set("allocateSlab", Napi::Function::New(env, AllocateSlab));
  exports.Set("releaseSlab", Napi::Function::New(env, ReleaseSlab));
  exports.Set("copyWithinSlabs", Napi::Function::New(env, CopyWithinSlabs));
  exports.Set("readSlab", Napi::Function::New(env, ReadSlab));
  exports.Set("resizeFrame", Napi::Function::New(env, ResizeFrame));
  exports.Set("cutPatches", Napi::Function::New(env, CutPatches));
  exports.Set("dieWithParent", Napi::Function::New(env, DieWithParent));
  return exports;
}

}  // namespace

NODE_API_MODULE(avocado, Initialise)

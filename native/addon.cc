// The functions that JavaScript can call. Their types are in src/base/native.ts.
#include <napi.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "page-calls.h"
#include "parent-death.h"
#include "pipe.h"
#include "pixels.h"
#include "session-calls.h"
#include "slab-calls.h"

namespace {

/**
 * Larger blocks get pages of their own and give them back when they are freed. glibc's own rule puts blocks of up to
 * 32 MiB side by side after a while, and hours of captions leave gaps between them: twice the memory.
 */
void ConfigureAllocator() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
}

Napi::Object Initialise(Napi::Env env, Napi::Object exports) {
  ConfigureAllocator();
  exports.Set("loadOnnxRuntime", Napi::Function::New(env, LoadOnnxRuntime));
  exports.Set("createSession", Napi::Function::New(env, CreateSession));
  exports.Set("sessionNames", Napi::Function::New(env, SessionNames));
  exports.Set("runSession", Napi::Function::New(env, RunSession));
  exports.Set("terminateRun", Napi::Function::New(env, TerminateRun));
  exports.Set("releaseSession", Napi::Function::New(env, ReleaseSession));
  exports.Set("allocateSlab", Napi::Function::New(env, AllocateSlab));
  exports.Set("releaseSlab", Napi::Function::New(env, ReleaseSlab));
  exports.Set("copyWithinSlabs", Napi::Function::New(env, CopyWithinSlabs));
  exports.Set("createPagePool", Napi::Function::New(env, CreatePagePool));
  exports.Set("pagePoolSize", Napi::Function::New(env, PagePoolSize));
  exports.Set("releasePagePool", Napi::Function::New(env, ReleasePagePool));
  exports.Set("commitSlabs", Napi::Function::New(env, CommitSlabs));
  exports.Set("decommitSlabs", Napi::Function::New(env, DecommitSlabs));
  exports.Set("readSlab", Napi::Function::New(env, ReadSlab));
  exports.Set("resizeFrame", Napi::Function::New(env, ResizeFrame));
  exports.Set("cutPatches", Napi::Function::New(env, CutPatches));
  exports.Set("openPipe", Napi::Function::New(env, OpenPipe));
  exports.Set("closeDescriptor", Napi::Function::New(env, CloseDescriptor));
  exports.Set("dieWithParent", Napi::Function::New(env, DieWithParent));
  return exports;
}

}  // namespace

NODE_API_MODULE(avocado, Initialise)

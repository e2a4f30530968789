#include "pipe.h"

#include <fcntl.h>
#include <unistd.h>

Napi::Value OpenPipe(const Napi::CallbackInfo& info) {
  const int bytes = info[0].As<Napi::Number>().Int32Value();
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return info.Env().Undefined();
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  // A user's pipes have a limit together. Beyond it the pipe keeps its size, which only makes it slower.
  fcntl(ends[0], F_SETPIPE_SZ, bytes);
  Napi::Array pair = Napi::Array::New(info.Env(), 2);
  pair.Set(0U, Napi::Number::New(info.Env(), ends[0]));
  pair.Set(1U, Napi::Number::New(info.Env(), ends[1]));
  return pair;
}

void CloseDescriptor(const Napi::CallbackInfo& info) { close(info[0].As<Napi::Number>().Int32Value()); }

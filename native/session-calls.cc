#include "session-calls.h"

#include <iterator>
#include <stdexcept>
#include <utility>

#include "session-on-thread.h"
#include "slab-calls.h"
#include "tensor-layout.h"

namespace {

SessionOnThread& HandleOf(Napi::Value handle) { return *handle.As<Napi::External<SessionOnThread>>().Data(); }

// What must not be collected during a job: the memory it uses, and the handle whose thread it runs on.
Napi::Array KeepAlive(Napi::Env env, Napi::Value handle, Napi::Value values) {
  Napi::Array kept_alive = Napi::Array::New(env, 2);
  kept_alive.Set(uint32_t{0}, handle);
  kept_alive.Set(uint32_t{1}, values);
  return kept_alive;
}

SessionConfig ReadConfig(Napi::Object object) {
  SessionConfig config;
  config.device = ReadDevice(object.Get("device").As<Napi::Object>());
  config.threads = object.Get("threads").As<Napi::Number>().Int32Value();
  config.spinning = object.Get("spinning").As<Napi::Boolean>().Value();
  config.disable_prepacking = object.Get("disablePrepacking").As<Napi::Boolean>().Value();
  config.log_severity = object.Get("logSeverity").As<Napi::Number>().Int32Value();
  return config;
}

Napi::Array NamesOf(Napi::Env env, const std::vector<std::string>& names) {
  Napi::Array array = Napi::Array::New(env, names.size());
  for (uint32_t index = 0; index < names.size(); index++) array.Set(index, Napi::String::New(env, names[index]));
  return array;
}

Session& LoadedSession(const SessionOnThread& handle) {
  if (handle.session == nullptr) throw std::runtime_error("The session is not loaded. This is a bug.");
  return *handle.session;
}

}  // namespace

Napi::Value LoadOnnxRuntime(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), ort::LoadLibrary(info[0].As<Napi::String>().Utf8Value()));
}

Napi::Value CreateSession(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto model = info[0].As<Napi::Uint8Array>();
  const SessionConfig config = ReadConfig(info[1].As<Napi::Object>());
  auto owned = std::make_unique<SessionOnThread>(env);
  SessionOnThread* raw = owned.get();
  const auto handle = Napi::External<SessionOnThread>::New(env, owned.release(),
                                                           [](Napi::Env, SessionOnThread* held) { delete held; });
  const uint8_t* bytes = model.Data();
  const size_t size = model.ByteLength();
  ThreadJob load{[raw, bytes, size, config] { raw->session = std::make_unique<Session>(bytes, size, config); },
                 nullptr};
  raw->Submit(env, std::move(load), KeepAlive(env, handle, model), info[2].As<Napi::Function>());
  return handle;
}

Napi::Value SessionNames(const Napi::CallbackInfo& info) {
  const Session& session = LoadedSession(HandleOf(info[0]));
  Napi::Object names = Napi::Object::New(info.Env());
  names.Set("inputs", NamesOf(info.Env(), session.inputs()));
  names.Set("outputs", NamesOf(info.Env(), session.outputs()));
  return names;
}

Napi::Value RunSession(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  SessionOnThread& handle = HandleOf(info[0]);
  const auto memory = info[2].As<Napi::Array>();
  std::vector<TensorView> views = ReadTensors(info[1].As<Napi::Float64Array>(), memory);
  // Shared: the thread that stops the run may still use the terminator after JavaScript was called back.
  auto request = std::make_shared<RunRequest>();
  const Session& session = LoadedSession(handle);
  const size_t expected = session.inputs().size() + session.outputs().size();
  if (views.size() != expected) throw std::runtime_error("A run needs an entry per input and output. This is a bug.");
  const auto outputs = views.begin() + static_cast<std::ptrdiff_t>(session.inputs().size());
  request->inputs.assign(std::make_move_iterator(views.begin()), std::make_move_iterator(outputs));
  request->outputs.assign(std::make_move_iterator(outputs), std::make_move_iterator(views.end()));
  ThreadJob run{[&handle, request] { LoadedSession(handle).Run(*request); },
                [request] { request->terminator.Terminate(); }};
  const auto done = info[3].As<Napi::Function>();
  const uint32_t ticket = handle.Submit(env, std::move(run), KeepAlive(env, info[0], memory), done);
  return Napi::Number::New(env, ticket);
}

void TerminateRun(const Napi::CallbackInfo& info) {
  HandleOf(info[0]).RequestStop(info[1].As<Napi::Number>().Uint32Value());
}

void ReleaseSession(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  HandleOf(info[0]).Release(env, KeepAlive(env, info[0], env.Undefined()), info[1].As<Napi::Function>());
}

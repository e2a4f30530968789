#include "session-calls.h"

#include <iterator>
#include <stdexcept>
#include <utility>

#include "session-on-thread.h"
#include "slab-calls.h"
#include "tensor-layout.h"

namespace {

SessionOnThread& HandleOf(Napi::Value handle) { return *handle.As<Napi::External<SessionOnThread>>().Data(); }

// The handle itself is lent too: it must not be collected while its thread works.
Napi::Array Lend(Napi::Env env, Napi::Value handle, Napi::Value values) {
  Napi::Array lent = Napi::Array::New(env, 2);
  lent.Set(uint32_t{0}, handle);
  lent.Set(uint32_t{1}, values);
  return lent;
}

SessionConfig ReadConfig(Napi::Object object) {
  SessionConfig config;
  config.device = ReadDevice(object.Get("device").As<Napi::Object>());
  config.threads = object.Get("threads").As<Napi::Number>().Int32Value();
  config.spinning = object.Get("spinning").As<Napi::Boolean>().Value();
  config.disable_prepacking = object.Get("disablePrepacking").As<Napi::Boolean>().Value();
  config.log_severity = object.Get("logSeverity").As<Napi::Number>().Int32Value();
  config.device_memory_limit = static_cast<uint64_t>(object.Get("deviceMemoryLimit").As<Napi::Number>().DoubleValue());
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
  const auto handle = Napi::External<SessionOnThread>::New(env, owned.release(), [](Napi::Env, SessionOnThread* held) { delete held; });
  const uint8_t* bytes = model.Data();
  const size_t size = model.ByteLength();
  ThreadJob load{[raw, bytes, size, config] { raw->session = std::make_unique<Session>(bytes, size, config); }, nullptr};
  raw->Submit(env, std::move(load), Lend(env, handle, model), info[2].As<Napi::Function>());
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
  const auto lent = info[2].As<Napi::Array>();
  std::vector<TensorView> views = ReadTensors(info[1].As<Napi::Float64Array>(), lent);
  // Shared: whoever hastens the run may still hold the terminator when JavaScript has its answer.
  auto request = std::make_shared<RunRequest>();
  const Session& session = LoadedSession(handle);
  const size_t expected = session.inputs().size() + session.outputs().size();
  if (views.size() != expected) throw std::runtime_error("A run needs an entry per input and output. This is a bug.");
  const auto outputs = views.begin() + static_cast<std::ptrdiff_t>(session.inputs().size());
  request->inputs.assign(std::make_move_iterator(views.begin()), std::make_move_iterator(outputs));
  request->outputs.assign(std::make_move_iterator(outputs), std::make_move_iterator(views.end()));
  ThreadJob run{[&handle, request] { LoadedSession(handle).Run(*request); }, [request] { request->terminator.Terminate(); }};
  const uint32_t ticket = handle.Submit(env, std::move(run), Lend(env, info[0], lent), info[3].As<Napi::Function>());
  return Napi::Number::New(env, ticket);
}

void TerminateRun(const Napi::CallbackInfo& info) { HandleOf(info[0]).Hasten(info[1].As<Napi::Number>().Uint32Value()); }

void ReleaseSession(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  HandleOf(info[0]).Retire(env, Lend(env, info[0], env.Undefined()), info[1].As<Napi::Function>());
}

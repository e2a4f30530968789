#include "session-calls.h"

#include <iterator>
#include <stdexcept>
#include <utility>
#include <vector>

#include "arguments.h"
#include "session-on-thread.h"
#include "slab-calls.h"
#include "staged-run.h"
#include "tensor-layout.h"

namespace {

// A random number.
constexpr napi_type_tag kSessionTag{0x6d3b7c52f4e14a08, 0xb71e90d2c86f35a9};

SessionOnThread& HandleOf(Napi::Value handle) { return HeldBy<SessionOnThread>(handle, kSessionTag, "session"); }

// What must not be collected during a job: the memory it uses, and the handle whose thread it runs on.
Napi::Array KeepAlive(Napi::Env env, Napi::Value handle, const std::vector<Napi::Value>& values) {
  Napi::Array kept_alive = Napi::Array::New(env, values.size() + 1);
  uint32_t index = 0;
  kept_alive.Set(index++, handle);
  for (const Napi::Value& value : values) kept_alive.Set(index++, value);
  return kept_alive;
}

// A getter of the array may run JavaScript, so that this comes before any look at memory.
std::vector<Napi::Value> ValuesOf(Napi::Value value) {
  if (!value.IsArray()) throw std::runtime_error("The memory of a run is no array. This is a bug.");
  const auto array = value.As<Napi::Array>();
  std::vector<Napi::Value> values;
  for (uint32_t index = 0; index < array.Length(); index++) values.push_back(array.Get(index));
  return values;
}

SessionConfig ReadConfig(Napi::Object object) {
  SessionConfig config;
  config.device = ReadDevice(object.Get("device").As<Napi::Object>());
  config.threads = object.Get("threads").As<Napi::Number>().Int32Value();
  config.spinning = object.Get("spinning").As<Napi::Boolean>().Value();
  config.disable_prepacking = object.Get("disablePrepacking").As<Napi::Boolean>().Value();
  config.recordings = object.Get("recordings").As<Napi::Boolean>().Value();
  for (const Napi::Value& name : ValuesOf(object.Get("hostInputs"))) {
    config.host_inputs.push_back(name.As<Napi::String>().Utf8Value());
  }
  config.own_kernels = object.Get("ownKernels").As<Napi::Boolean>().Value();
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
  const SessionConfig config = ReadConfig(info[1].As<Napi::Object>());
  const auto done = FunctionOf(info[2], "done");
  const ArrayMemory memory = MemoryOf(info[0], "model");
  const auto* bytes = Elements<uint8_t>(memory, napi_uint8_array, 0, "model");
  // A copy, since the array may be detached before it is read. The weights are in other files.
  auto model = std::make_shared<std::vector<uint8_t>>(bytes, bytes + memory.length);
  const auto handle = MakeHandle(env, std::make_unique<SessionOnThread>(env), kSessionTag);
  SessionOnThread* raw = handle.Data();
  ThreadJob load{[raw, model, config] { raw->session = std::make_unique<Session>(model->data(), model->size(), config); },
                 nullptr};
  raw->Submit(env, std::move(load), KeepAlive(env, handle, {}), done);
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
  const auto done = FunctionOf(info[3], "done");
  const int recording = info[4].IsNumber() ? info[4].As<Napi::Number>().Int32Value() : NOT_RECORDED;
  const std::vector<Napi::Value> memory = ValuesOf(info[2]);
  std::vector<TensorView> views = ReadTensors(info[1], memory);
  // Shared: the thread that stops the run may still use the terminator after JavaScript was called back.
  auto request = std::make_shared<RunRequest>();
  const Session& session = LoadedSession(handle);
  const size_t expected = session.inputs().size() + session.outputs().size();
  if (views.size() != expected) throw std::runtime_error("A run needs an entry per input and output. This is a bug.");
  const auto outputs = views.begin() + static_cast<std::ptrdiff_t>(session.inputs().size());
  request->inputs.assign(std::make_move_iterator(views.begin()), std::make_move_iterator(outputs));
  request->outputs.assign(std::make_move_iterator(outputs), std::make_move_iterator(views.end()));
  request->recording = recording;
  const auto stop = [request] { request->terminator.Terminate(); };
  const Napi::Array kept_alive = KeepAlive(env, info[0], memory);
  if (!session.has_parts()) {
    ThreadJob run{[&handle, request] { LoadedSession(handle).Run(*request); }, stop};
    return Napi::Number::New(env, handle.Submit(env, std::move(run), kept_alive, done));
  }
  const auto staged = std::make_shared<std::unique_ptr<StagedRun>>();
  const std::shared_ptr<StagingPool> pool = session.staging();
  const auto upload = [&handle, request, staged, pool] {
    *staged = std::make_unique<StagedRun>(LoadedSession(handle), *request, pool->Take());
    (*staged)->Upload(*request);
  };
  const auto execute = [request, staged] {
    (*staged)->Execute(*request);
    (*staged)->Unbind();
  };
  const auto download = [request, staged, pool] {
    (*staged)->Download(*request);
    pool->Put((*staged)->TakeStaging());
  };
  return Napi::Number::New(env, handle.SubmitInParts(env, upload, {execute, stop}, download, kept_alive, done));
}

void TerminateRun(const Napi::CallbackInfo& info) {
  HandleOf(info[0]).RequestStop(info[1].As<Napi::Number>().Uint32Value());
}

void ReleaseSession(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  HandleOf(info[0]).Release(env, KeepAlive(env, info[0], {}), FunctionOf(info[1], "done"));
}

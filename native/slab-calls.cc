#include "slab-calls.h"

#include <stdexcept>

namespace {

using Holder = std::shared_ptr<Slab>;

Holder& HolderOf(Napi::Value handle) { return *handle.As<Napi::External<Holder>>().Data(); }

}  // namespace

Device ReadDevice(Napi::Object device) {
  if (device.Get("type").As<Napi::String>().Utf8Value() != "cuda") return Device{};
  return Device{Device::Type::kCuda, device.Get("index").As<Napi::Number>().Int32Value()};
}

std::shared_ptr<Slab> SlabOf(Napi::Value handle) {
  const Holder& holder = HolderOf(handle);
  if (holder == nullptr) throw std::runtime_error("The slab was released already. This is a bug.");
  return holder;
}

Napi::Value AllocateSlab(const Napi::CallbackInfo& info) {
  const Device device = ReadDevice(info[0].As<Napi::Object>());
  const auto bytes = static_cast<size_t>(info[1].As<Napi::Number>().DoubleValue());
  auto holder = std::make_unique<Holder>(std::make_shared<Slab>(device, bytes));
  return Napi::External<Holder>::New(info.Env(), holder.release(), [](Napi::Env, Holder* held) { delete held; });
}

void ReleaseSlab(const Napi::CallbackInfo& info) { HolderOf(info[0]).reset(); }

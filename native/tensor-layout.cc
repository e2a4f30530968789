#include "tensor-layout.h"

#include <stdexcept>

#include "slab-calls.h"

namespace {

size_t ElementBytes(int type) {
  switch (type) {
    case 1:   // float32
    case 6:   // int32
      return 4;
    case 2:  // uint8
    case 3:  // int8
      return 1;
    case 7:  // int64
      return 8;
    case 10:  // float16
    case 16:  // bfloat16
      return 2;
    default:
      throw std::runtime_error("Data type " + std::to_string(type) + " is not supported. This is a bug.");
  }
}

class LayoutReader {
 public:
  explicit LayoutReader(Napi::Float64Array layout) : next_(layout.Data()), end_(next_ + layout.ElementLength()) {}

  double Next() {
    if (next_ == end_) throw std::runtime_error("A run's layout is too short. This is a bug.");
    return *next_++;
  }

 private:
  const double* next_;
  const double* end_;
};

struct Memory {
  std::byte* start = nullptr;
  size_t bytes = 0;
};

Memory MemoryOfArray(Napi::Value value) {
  napi_typedarray_type type = napi_uint8_array;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(value.Env(), value, &type, &length, &data, nullptr, nullptr) != napi_ok) {
    throw std::runtime_error("A tensor of a run has no memory. This is a bug.");
  }
  return {static_cast<std::byte*>(data), length * value.As<Napi::TypedArray>().ElementSize()};
}

TensorView ReadTensor(LayoutReader& reader, Napi::Value owner) {
  TensorView view;
  view.type = static_cast<int>(reader.Next());
  const auto offset = static_cast<size_t>(reader.Next());
  const auto rank = static_cast<size_t>(reader.Next());
  size_t elements = 1;
  for (size_t axis = 0; axis < rank; axis++) {
    view.dims.push_back(static_cast<int64_t>(reader.Next()));
    elements *= static_cast<size_t>(view.dims.back());
  }
  if (owner.IsNull()) return view;
  Memory memory;
  if (owner.IsExternal()) {
    view.slab = SlabOf(owner);
    view.device = view.slab->device();
    memory = {view.slab->memory(), view.slab->bytes()};
  } else {
    memory = MemoryOfArray(owner);
  }
  view.bytes = elements * ElementBytes(view.type);
  if (offset > memory.bytes || view.bytes > memory.bytes - offset) {
    throw std::runtime_error("A tensor of " + std::to_string(view.bytes) + " bytes at " + std::to_string(offset) +
                             " reaches past its memory of " + std::to_string(memory.bytes) + " bytes. This is a bug.");
  }
  // An empty tensor may have no memory, but to the session null means "not wanted".
  static std::byte nothing{};
  view.memory = memory.start == nullptr ? &nothing : memory.start + offset;
  return view;
}

}  // namespace

std::vector<TensorView> ReadTensors(Napi::Float64Array layout, Napi::Array memory) {
  LayoutReader reader(layout);
  const uint32_t count = memory.Length();
  std::vector<TensorView> views;
  views.reserve(count);
  for (uint32_t index = 0; index < count; index++) {
    const Napi::HandleScope scope(memory.Env());
    views.push_back(ReadTensor(reader, memory.Get(index)));
  }
  return views;
}

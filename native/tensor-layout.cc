#include "tensor-layout.h"

#include <algorithm>
#include <climits>
#include <stdexcept>

#include "arguments.h"
#include "slab-calls.h"

namespace {

size_t TypeBytes(int type) {
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
  explicit LayoutReader(const ArrayMemory& layout)
      : next_(Elements<double>(layout, napi_float64_array, 0, "layout")), end_(next_ + layout.length) {}

  size_t Next() {
    if (next_ == end_) throw std::runtime_error("A run's layout is too short. This is a bug.");
    return WholeNumber(*next_++, "a number of a run's layout");
  }

 private:
  const double* next_;
  const double* end_;
};

struct Memory {
  std::byte* start = nullptr;
  size_t bytes = 0;
};

size_t Product(size_t a, size_t b) {
  size_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) throw std::runtime_error("A tensor is too large. This is a bug.");
  return product;
}

TensorView ReadTensor(LayoutReader& reader, Napi::Value owner) {
  TensorView view;
  view.type = static_cast<int>(std::min<size_t>(reader.Next(), INT_MAX));
  const size_t offset = reader.Next();
  const size_t rank = reader.Next();
  size_t elements = 1;
  for (size_t axis = 0; axis < rank; axis++) {
    view.dims.push_back(static_cast<int64_t>(reader.Next()));
    elements = Product(elements, static_cast<size_t>(view.dims.back()));
  }
  if (owner.IsNull()) return view;
  Memory memory;
  if (owner.IsExternal()) {
    view.slab = SlabOf(owner);
    view.device = view.slab->device();
    memory = {view.slab->memory(), view.slab->bytes()};
  } else {
    const ArrayMemory array = MemoryOf(owner, "a tensor of a run");
    memory = {static_cast<std::byte*>(array.data), array.length * ElementBytes(array.type)};
  }
  view.bytes = Product(elements, TypeBytes(view.type));
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

std::vector<TensorView> ReadTensors(Napi::Value layout, const std::vector<Napi::Value>& memory) {
  LayoutReader reader(MemoryOf(layout, "layout"));
  std::vector<TensorView> views;
  views.reserve(memory.size());
  for (const Napi::Value& owner : memory) views.push_back(ReadTensor(reader, owner));
  return views;
}

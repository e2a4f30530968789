#include "slab-calls.h"

#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

#include "arguments.h"
#include "cuda-memory.h"
#include "page-calls.h"
#include "slab-worker.h"

namespace {

using Holder = std::shared_ptr<Slab>;

// A random number.
constexpr napi_type_tag kSlabTag{0x1fb06f1a0c5f4bd1, 0x9f2c87a5e03b6d44};

Holder& HolderOf(Napi::Value handle) { return HeldBy<Holder>(handle, kSlabTag, "slab"); }

constexpr size_t kNumbersPerPiece = 3;

void ReadPieces(const ArrayMemory& array, const Slab& slab, std::vector<PieceCopy>& pieces) {
  const double* numbers = Elements<double>(array, napi_float64_array, 0, "pieces");
  for (size_t index = 0; index + kNumbersPerPiece <= array.length; index += kNumbersPerPiece) {
    const size_t from = WholeNumber(numbers[index], "from");
    const size_t to = WholeNumber(numbers[index + 1], "to");
    const size_t bytes = WholeNumber(numbers[index + 2], "bytes");
    if (bytes > slab.bytes() || from > slab.bytes() - bytes || to > slab.bytes() - bytes) {
      throw std::runtime_error("A copy reaches past its slab. This is a bug.");
    }
    if (from < to + bytes && to < from + bytes) throw std::runtime_error("A copy overlaps itself. This is a bug.");
    pieces.push_back({slab.memory() + from, slab.memory() + to, bytes});
  }
}

/** `slabs` are not empty and on one device. */
void CopyPieces(const std::vector<std::shared_ptr<Slab>>& slabs, const std::vector<PieceCopy>& pieces) {
  const Device device = slabs.front()->device();
  if (device.type == Device::Type::kCuda) {
    CopyCuda(device.index, pieces);
    return;
  }
  for (const PieceCopy& piece : pieces) std::memcpy(piece.to, piece.from, piece.bytes);
}

void ReadBytes(const Slab& slab, size_t offset, void* target, size_t bytes) {
  const Device device = slab.device();
  if (device.type == Device::Type::kCuda) {
    ReadCuda(device.index, slab.memory() + offset, target, bytes);
  } else {
    std::memcpy(target, slab.memory() + offset, bytes);
  }
}

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

std::vector<std::shared_ptr<Slab>> SlabsOf(Napi::Value handles) {
  if (!handles.IsArray()) throw std::runtime_error("The slabs of a call are no array. This is a bug.");
  const auto array = handles.As<Napi::Array>();
  std::vector<std::shared_ptr<Slab>> slabs;
  for (uint32_t index = 0; index < array.Length(); index++) slabs.push_back(SlabOf(array.Get(index)));
  if (slabs.empty()) throw std::runtime_error("A call needs a slab. This is a bug.");
  return slabs;
}

Napi::Value AllocateSlab(const Napi::CallbackInfo& info) {
  const Device device = ReadDevice(info[0].As<Napi::Object>());
  const size_t bytes = WholeNumber(info[1].As<Napi::Number>().DoubleValue(), "bytes");
  std::shared_ptr<Slab> slab;
  if (info[2].IsUndefined()) {
    slab = std::make_shared<Slab>(device, bytes);
  } else {
    std::shared_ptr<PagePool> pool = PoolOf(info[2]);
    if (pool->device() != device) throw std::runtime_error("The page pool is of another device. This is a bug.");
    slab = std::make_shared<Slab>(std::move(pool), bytes);
  }
  return MakeHandle(info.Env(), std::make_unique<Holder>(std::move(slab)), kSlabTag);
}

void ReleaseSlab(const Napi::CallbackInfo& info) { HolderOf(info[0]).reset(); }

void CopyWithinSlabs(const Napi::CallbackInfo& info) {
  // A getter of the array may run JavaScript, so that this comes before any look at memory.
  std::vector<std::shared_ptr<Slab>> slabs = SlabsOf(info[0]);
  const ArrayMemory numbers = MemoryOf(info[1], "pieces");
  std::vector<PieceCopy> pieces;
  for (const std::shared_ptr<Slab>& slab : slabs) {
    if (slab->device() != slabs.front()->device()) {
      throw std::runtime_error("The slabs of a copy are on several devices. This is a bug.");
    }
    ReadPieces(numbers, *slab, pieces);
  }
  auto copy = [slabs = std::move(slabs), pieces = std::move(pieces)] { CopyPieces(slabs, pieces); };
  SlabWorker::Start(FunctionOf(info[2], "done"), std::move(copy));
}

void ReadSlab(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Slab> slab = SlabOf(info[0]);
  const auto done = FunctionOf(info[3], "done");
  const ArrayMemory target = MemoryOf(info[2], "target");
  const size_t bytes = target.length * ElementBytes(target.type);
  const size_t offset = WholeNumber(info[1].As<Napi::Number>().DoubleValue(), "offset");
  if (bytes > slab->bytes() || offset > slab->bytes() - bytes) {
    throw std::runtime_error("A read reaches past its slab. This is a bug.");
  }
  auto read = [slab, offset, to = target.data, bytes] { ReadBytes(*slab, offset, to, bytes); };
  SlabWorker::Start(done, std::move(read), Napi::Persistent(info[2].As<Napi::Object>()));
}

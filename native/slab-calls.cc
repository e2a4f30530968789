#include "slab-calls.h"

#include <cstring>
#include <stdexcept>
#include <vector>

#include "arguments.h"
#include "cuda-memory.h"

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

// Copies on a thread of the libuv pool: with long prompts, gigabytes are copied.
class CopyWorker : public Napi::AsyncWorker {
 public:
  /** `slabs` are not empty and on one device. */
  CopyWorker(Napi::Function done, std::vector<std::shared_ptr<Slab>> slabs, std::vector<PieceCopy> pieces)
      : AsyncWorker(done), slabs_(std::move(slabs)), pieces_(std::move(pieces)) {}

 private:
  void Execute() override {
    const Device device = slabs_.front()->device();
    if (device.type == Device::Type::kCuda) {
      CopyCuda(device.index, pieces_);
      return;
    }
    for (const PieceCopy& piece : pieces_) std::memcpy(piece.to, piece.from, piece.bytes);
  }

  void OnOK() override { CallDone(Env().Undefined()); }
  void OnError(const Napi::Error& error) override { CallDone(Napi::String::New(Env(), error.Message())); }

  void CallDone(Napi::Value message) {
    try {
      Callback().Call({message});
    } catch (const Napi::Error&) {
      // The calling thread is being terminated: an exception in it would abort the process.
    }
  }

  std::vector<std::shared_ptr<Slab>> slabs_;
  std::vector<PieceCopy> pieces_;
};

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
  const size_t bytes = WholeNumber(info[1].As<Napi::Number>().DoubleValue(), "bytes");
  return MakeHandle(info.Env(), std::make_unique<Holder>(std::make_shared<Slab>(device, bytes)), kSlabTag);
}

void ReleaseSlab(const Napi::CallbackInfo& info) { HolderOf(info[0]).reset(); }

void CopyWithinSlabs(const Napi::CallbackInfo& info) {
  if (!info[0].IsArray()) throw std::runtime_error("The slabs of a copy are no array. This is a bug.");
  const auto handles = info[0].As<Napi::Array>();
  // A getter of the array may run JavaScript, so that this comes before any look at memory.
  std::vector<std::shared_ptr<Slab>> slabs;
  for (uint32_t index = 0; index < handles.Length(); index++) slabs.push_back(SlabOf(handles.Get(index)));
  if (slabs.empty()) throw std::runtime_error("A copy needs a slab. This is a bug.");
  const ArrayMemory numbers = MemoryOf(info[1], "pieces");
  std::vector<PieceCopy> pieces;
  for (const std::shared_ptr<Slab>& slab : slabs) {
    if (slab->device() != slabs.front()->device()) {
      throw std::runtime_error("The slabs of a copy are on several devices. This is a bug.");
    }
    ReadPieces(numbers, *slab, pieces);
  }
  // Deletes itself after done() was called.
  (new CopyWorker(FunctionOf(info[2], "done"), std::move(slabs), std::move(pieces)))->Queue();
}

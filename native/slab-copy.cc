#include "slab-copy.h"

#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

#include "cuda-memory.h"
#include "slab-calls.h"

namespace {

constexpr size_t kNumbersPerPiece = 3;

std::vector<PieceCopy> ReadPieces(Napi::Float64Array numbers, const Slab& slab) {
  std::vector<PieceCopy> pieces;
  for (size_t index = 0; index + kNumbersPerPiece <= numbers.ElementLength(); index += kNumbersPerPiece) {
    const auto from = static_cast<size_t>(numbers[index]);
    const auto to = static_cast<size_t>(numbers[index + 1]);
    const auto bytes = static_cast<size_t>(numbers[index + 2]);
    if (bytes > slab.bytes() || from > slab.bytes() - bytes || to > slab.bytes() - bytes) {
      throw std::runtime_error("A copy reaches past its slab. This is a bug.");
    }
    if (from < to + bytes && to < from + bytes) throw std::runtime_error("A copy overlaps itself. This is a bug.");
    pieces.push_back({slab.memory() + from, slab.memory() + to, bytes});
  }
  return pieces;
}

// On a thread of the pool: gigabytes are to be moved where prompts are long.
class CopyWorker : public Napi::AsyncWorker {
 public:
  CopyWorker(Napi::Function done, std::shared_ptr<Slab> slab, std::vector<PieceCopy> pieces)
      : AsyncWorker(done), slab_(std::move(slab)), pieces_(std::move(pieces)) {}

 private:
  void Execute() override {
    const Device device = slab_->device();
    if (device.type == Device::Type::kCuda) {
      CopyCuda(device.index, pieces_);
      return;
    }
    for (const PieceCopy& piece : pieces_) std::memcpy(piece.to, piece.from, piece.bytes);
  }

  void OnOK() override { Answer(Env().Undefined()); }
  void OnError(const Napi::Error& error) override { Answer(Napi::String::New(Env(), error.Message())); }

  void Answer(Napi::Value message) {
    try {
      Callback().Call({message});
    } catch (const Napi::Error&) {
      // The thread that asked is being terminated: throwing into it would abort the process.
    }
  }

  std::shared_ptr<Slab> slab_;
  std::vector<PieceCopy> pieces_;
};

}  // namespace

void CopyWithinSlab(const Napi::CallbackInfo& info) {
  std::shared_ptr<Slab> slab = SlabOf(info[0]);
  std::vector<PieceCopy> pieces = ReadPieces(info[1].As<Napi::Float64Array>(), *slab);
  // It deletes itself when it has called back.
  (new CopyWorker(info[2].As<Napi::Function>(), std::move(slab), std::move(pieces)))->Queue();
}

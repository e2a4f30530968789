#include "pixels.h"

#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "arguments.h"
#include "patches.h"
#include "resize.h"

namespace {

/** Of a side, of frames, of steps: above any picture, and low enough that no product below overflows. */
constexpr int32_t kMost = 1 << 20;

int32_t ReadCount(const Napi::CallbackInfo& info, size_t index, int32_t least) {
  const double value = info[index].As<Napi::Number>().DoubleValue();
  if (!(value >= least && value <= kMost)) {
    throw std::runtime_error("Argument " + std::to_string(index) + " is out of range. This is a bug.");
  }
  return static_cast<int32_t>(value);
}

/** Taps as JavaScript has them. */
struct TapValues {
  int32_t stride;
  Napi::Value start;
  Napi::Value count;
  Napi::Value weights;
};

TapValues TapsOf(Napi::Value value) {
  if (!value.IsObject()) throw std::runtime_error("Resize taps are no object. This is a bug.");
  const auto object = value.As<Napi::Object>();
  return {object.Get("stride").As<Napi::Number>().Int32Value(), object.Get("start"), object.Get("count"),
          object.Get("weights")};
}

/** Checks every tap, because the kernel reads without checks. */
avocado::AxisTaps ReadTaps(const TapValues& values, int32_t source_size, int32_t target_size) {
  const auto size = static_cast<size_t>(target_size);
  avocado::AxisTaps taps{};
  taps.stride = values.stride;
  if (taps.stride < 1) throw std::runtime_error("The stride of resize taps is below 1. This is a bug.");
  taps.start = Elements<int32_t>(MemoryOf(values.start, "start"), napi_int32_array, size, "start");
  taps.count = Elements<int32_t>(MemoryOf(values.count, "count"), napi_int32_array, size, "count");
  const size_t weights = size * static_cast<size_t>(taps.stride);
  taps.weights = Elements<float>(MemoryOf(values.weights, "weights"), napi_float32_array, weights, "weights");
  for (size_t index = 0; index < size; index++) {
    const int64_t start = taps.start[index];
    const int64_t count = taps.count[index];
    const bool ascending = index == 0 || start >= taps.start[index - 1];
    const bool inside = start >= 0 && count >= 1 && count <= taps.stride && start + count <= source_size;
    if (!ascending || !inside) throw std::runtime_error("Resize taps reach past the source. This is a bug.");
  }
  return taps;
}

size_t Area(int32_t height, int32_t width) { return static_cast<size_t>(height) * static_cast<size_t>(width) * 3; }

/** A resize in one of Node's own threads. */
class ResizeAside : public Napi::AsyncWorker {
 public:
  /** @param memory what the job reads and writes, kept from collection until the end */
  ResizeAside(Napi::Function done, const avocado::ResizeJob& job, std::initializer_list<Napi::Value> memory)
      : Napi::AsyncWorker(done, "avocado:resize"), job_(job) {
    for (const Napi::Value& value : memory) memory_.push_back(Napi::Persistent(value.As<Napi::Object>()));
  }

  void Execute() override { avocado::ResizeRgb(job_); }

 private:
  avocado::ResizeJob job_;
  std::vector<Napi::ObjectReference> memory_;
};

}  // namespace

Napi::Value ResizeFrame(const Napi::CallbackInfo& info) {
  avocado::ResizeJob job{};
  job.source_height = ReadCount(info, 1, 1);
  job.source_width = ReadCount(info, 2, 1);
  job.target_height = ReadCount(info, 4, 1);
  job.target_width = ReadCount(info, 5, 1);
  const TapValues rows = TapsOf(info[6]);
  const TapValues columns = TapsOf(info[7]);
  const bool aside = !info[8].IsUndefined();
  const Napi::Function done = aside ? FunctionOf(info[8], "done") : Napi::Function();
  // No JavaScript runs from here on.
  job.rows = ReadTaps(rows, job.source_height, job.target_height);
  job.columns = ReadTaps(columns, job.source_width, job.target_width);
  const size_t source_size = Area(job.source_height, job.source_width);
  job.source = Elements<uint8_t>(MemoryOf(info[0], "source"), napi_uint8_array, source_size, "source");
  const ArrayMemory target = MemoryOf(info[3], "target");
  const size_t size = Area(job.target_height, job.target_width);
  if (target.type == napi_float32_array) {
    job.target_floats = Elements<float>(target, napi_float32_array, size, "target");
  } else {
    job.target_bytes = Elements<uint8_t>(target, napi_uint8_array, size, "target");
  }
  if (!aside) {
    avocado::ResizeRgb(job);
    return info.Env().Undefined();
  }
  auto worker = std::make_unique<ResizeAside>(
      done, job,
      std::initializer_list<Napi::Value>{info[0], info[3], rows.start, rows.count, rows.weights, columns.start,
                                         columns.count, columns.weights});
  worker->Queue();
  worker.release();  // it deletes itself
  return info.Env().Undefined();
}

Napi::Value CutPatches(const Napi::CallbackInfo& info) {
  avocado::PatchJob job{};
  job.frames = ReadCount(info, 1, 1);
  job.height = ReadCount(info, 2, 28);
  job.width = ReadCount(info, 3, 28);
  job.first_step = ReadCount(info, 4, 0);
  job.steps = ReadCount(info, 5, job.first_step) - job.first_step;
  const size_t frame_size = Area(job.height, job.width);
  if (job.height % 28 != 0 || job.width % 28 != 0) {
    throw std::runtime_error("The frame size is not a multiple of 28 pixels. This is a bug.");
  }
  if (job.first_step + job.steps > (job.frames + 1) / 2) {
    throw std::runtime_error("These steps do not exist. This is a bug.");
  }
  const ArrayMemory frames = MemoryOf(info[0], "frames");
  const size_t size = frame_size * static_cast<size_t>(job.frames);
  if (frames.type == napi_float32_array) job.frame_floats = Elements<float>(frames, napi_float32_array, size, "frames");
  else job.frame_bytes = Elements<uint8_t>(frames, napi_uint8_array, size, "frames");
  const float* mean = Elements<float>(MemoryOf(info[6], "mean"), napi_float32_array, 3, "mean");
  const float* deviation = Elements<float>(MemoryOf(info[7], "deviation"), napi_float32_array, 3, "deviation");
  for (int channel = 0; channel < 3; channel++) {
    job.mean[channel] = mean[channel];
    job.deviation[channel] = deviation[channel];
  }
  // Each step has the values of two frames.
  const size_t target_size = frame_size * 2 * static_cast<size_t>(job.steps);
  job.target = Elements<float>(MemoryOf(info[8], "target"), napi_float32_array, target_size, "target");
  avocado::CutPatchRows(job);
  return info.Env().Undefined();
}

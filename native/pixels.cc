#include "pixels.h"

#include <stdexcept>
#include <string>

#include "patches.h"
#include "resize.h"

namespace {

/** A typed array's memory. Does not ask for its buffer: Node-API does not support shared buffers. */
struct Span {
  napi_typedarray_type type;
  size_t length;
  void* data;
};

Span ReadSpan(Napi::Env env, napi_value value, const char* name) {
  Span span{};
  size_t offset = 0;
  if (napi_get_typedarray_info(env, value, &span.type, &span.length, &span.data, nullptr, &offset) != napi_ok) {
    throw std::runtime_error(std::string(name) + " is not a typed array. This is a bug.");
  }
  return span;
}

template <class Element>
Element* Elements(const Span& span, napi_typedarray_type type, size_t least, const char* name) {
  if (span.type != type) throw std::runtime_error(std::string(name) + " has another element type. This is a bug.");
  if (span.length < least) throw std::runtime_error(std::string(name) + " is too short. This is a bug.");
  return static_cast<Element*>(span.data);
}

int32_t ReadCount(const Napi::CallbackInfo& info, size_t index, int32_t least) {
  const int32_t value = info[index].As<Napi::Number>().Int32Value();
  if (value < least) throw std::runtime_error("Argument " + std::to_string(index) + " is too small. This is a bug.");
  return value;
}

/** Checks every tap, because the kernel reads without checks. */
avocado::AxisTaps ReadTaps(Napi::Env env, Napi::Value value, int32_t source_size, int32_t target_size) {
  const Napi::Object object = value.As<Napi::Object>();
  const size_t size = static_cast<size_t>(target_size);
  avocado::AxisTaps taps{};
  taps.stride = object.Get("stride").As<Napi::Number>().Int32Value();
  taps.start = Elements<int32_t>(ReadSpan(env, object.Get("start"), "start"), napi_int32_array, size, "start");
  taps.count = Elements<int32_t>(ReadSpan(env, object.Get("count"), "count"), napi_int32_array, size, "count");
  const size_t weights = size * static_cast<size_t>(taps.stride);
  const Span weight_span = ReadSpan(env, object.Get("weights"), "weights");
  taps.weights = Elements<float>(weight_span, napi_float32_array, weights, "weights");
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

}  // namespace

Napi::Value ResizeFrame(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  avocado::ResizeJob job{};
  job.source_height = ReadCount(info, 1, 1);
  job.source_width = ReadCount(info, 2, 1);
  job.target_height = ReadCount(info, 4, 1);
  job.target_width = ReadCount(info, 5, 1);
  const size_t source_size = Area(job.source_height, job.source_width);
  job.source = Elements<uint8_t>(ReadSpan(env, info[0], "source"), napi_uint8_array, source_size, "source");
  const Span target = ReadSpan(env, info[3], "target");
  const size_t size = Area(job.target_height, job.target_width);
  if (target.type == napi_float32_array) {
    job.target_floats = Elements<float>(target, napi_float32_array, size, "target");
  } else {
    job.target_bytes = Elements<uint8_t>(target, napi_uint8_array, size, "target");
  }
  job.rows = ReadTaps(env, info[6], job.source_height, job.target_height);
  job.columns = ReadTaps(env, info[7], job.source_width, job.target_width);
  avocado::ResizeRgb(job);
  return env.Undefined();
}

Napi::Value CutPatches(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
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
  const Span frames = ReadSpan(env, info[0], "frames");
  const size_t size = frame_size * static_cast<size_t>(job.frames);
  if (frames.type == napi_float32_array) job.frame_floats = Elements<float>(frames, napi_float32_array, size, "frames");
  else job.frame_bytes = Elements<uint8_t>(frames, napi_uint8_array, size, "frames");
  const float* mean = Elements<float>(ReadSpan(env, info[6], "mean"), napi_float32_array, 3, "mean");
  const float* deviation = Elements<float>(ReadSpan(env, info[7], "deviation"), napi_float32_array, 3, "deviation");
  for (int channel = 0; channel < 3; channel++) {
    job.mean[channel] = mean[channel];
    job.deviation[channel] = deviation[channel];
  }
  // Each step has the values of two frames.
  const size_t target_size = frame_size * 2 * static_cast<size_t>(job.steps);
  job.target = Elements<float>(ReadSpan(env, info[8], "target"), napi_float32_array, target_size, "target");
  avocado::CutPatchRows(job);
  return env.Undefined();
}

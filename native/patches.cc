#include "patches.h"

#include <algorithm>
#include <cstddef>

namespace avocado {
namespace {

constexpr int32_t kPatch = 14;
constexpr int32_t kMerge = 2;
constexpr int32_t kPair = 2;  // frames per temporal step
constexpr int32_t kChannels = 3;
constexpr int32_t kColumns = kChannels * kPair * kPatch * kPatch;

/** The normalised value of every byte, per channel, so that each division is done once. */
struct ByteValues {
  float table[kChannels][256];

  explicit ByteValues(const PatchJob& job) {
    for (int c = 0; c < kChannels; c++) {
      for (int value = 0; value < 256; value++) {
        table[c][value] = (static_cast<float>(value) - job.mean[c]) / job.deviation[c];
      }
    }
  }
  float operator()(int channel, uint8_t value) const { return table[channel][value]; }
};

struct FloatValues {
  const PatchJob& job;
  float operator()(int channel, float value) const { return (value - job.mean[channel]) / job.deviation[channel]; }
};

/** Copies one line of pixels of one frame into all patches that it crosses. */
template <class Pixel, class Normalise>
void CutLine(const Pixel* line, const PatchJob& job, const Normalise& normalise, int32_t y, float* step,
             int32_t frame_in_pair) {
  const int32_t patch_row = y / kPatch;
  const int32_t columns = job.width / kPatch;
  for (int32_t column = 0; column < columns; column++) {
    const int32_t merged = patch_row / kMerge * (columns / kMerge) + column / kMerge;
    const int32_t row = (merged * kMerge + patch_row % kMerge) * kMerge + column % kMerge;
    const Pixel* from = line + static_cast<size_t>(column) * kPatch * kChannels;
    for (int32_t channel = 0; channel < kChannels; channel++) {
      const int32_t patch_line = (channel * kPair + frame_in_pair) * kPatch + y % kPatch;
      float* to = step + static_cast<size_t>(row) * kColumns + patch_line * kPatch;
      for (int32_t x = 0; x < kPatch; x++) to[x] = normalise(channel, from[x * kChannels + channel]);
    }
  }
}

template <class Pixel, class Normalise>
void Cut(const Pixel* frames, const PatchJob& job, const Normalise& normalise) {
  const size_t line_size = static_cast<size_t>(job.width) * kChannels;
  const size_t step_size = static_cast<size_t>(job.height / kPatch) * (job.width / kPatch) * kColumns;
  for (int32_t step = 0; step < job.steps; step++) {
    for (int32_t pair = 0; pair < kPair; pair++) {
      // The last frame of an odd count, and a still picture, fill both frames of their step.
      const int32_t frame = std::min((job.first_step + step) * kPair + pair, job.frames - 1);
      const Pixel* pixels = frames + static_cast<size_t>(frame) * job.height * line_size;
      float* target = job.target + step * step_size;
      for (int32_t y = 0; y < job.height; y++) CutLine(pixels + y * line_size, job, normalise, y, target, pair);
    }
  }
}

}  // namespace

void CutPatchRows(const PatchJob& job) {
  if (job.frame_bytes != nullptr) Cut(job.frame_bytes, job, ByteValues(job));
  else Cut(job.frame_floats, job, FloatValues{job});
}

}  // namespace avocado

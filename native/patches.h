// Normalises frames and cuts them into the vision tower's rows (formula and source: src/features/patches.ts).
// Independent of JavaScript. src/model/checkpoint refuses checkpoints with another patch geometry.
#pragma once
#include <cstdint>

namespace avocado {

/** Exactly one of frame_bytes and frame_floats is set. */
struct PatchJob {
  const uint8_t* frame_bytes;  // [frames, height, width, 3]
  const float* frame_floats;
  int32_t frames;
  int32_t height;
  int32_t width;
  int32_t first_step;
  int32_t steps;
  float mean[3];  // of pixel values 0..255
  float deviation[3];
  float* target;  // [steps * height/14 * width/14, 1176]
};

void CutPatchRows(const PatchJob& job);

}  // namespace avocado

// Antialiased bicubic resize of one RGB24 frame with weights made in TypeScript (src/features/resize.ts).
// Independent of JavaScript.
#pragma once
#include <cstdint>

namespace avocado {

/** For each output index: `count` source indices from `start` on, their weights at `weights + index * stride`. */
struct AxisTaps {
  const int32_t* start;
  const int32_t* count;
  const float* weights;
  int32_t stride;
};

/** Exactly one of target_bytes and target_floats is set: rounded and clamped bytes, or the exact sums. */
struct ResizeJob {
  const uint8_t* source;  // [source_height, source_width, 3]
  int32_t source_height;
  int32_t source_width;
  int32_t target_height;
  int32_t target_width;
  AxisTaps columns;
  AxisTaps rows;
  uint8_t* target_bytes;   // [target_height, target_width, 3]
  float* target_floats;
};

void ResizeRgb(const ResizeJob& job);

}  // namespace avocado

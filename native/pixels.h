// The JavaScript functions of the pixel kernels. They run on the calling thread, which should be a worker thread, or
// where `done` is given, in one of Node's own threads.
#pragma once
#include <napi.h>

/**
 * resizeFrame(source: Uint8Array, sourceHeight, sourceWidth, target: Uint8Array | Float32Array, targetHeight,
 * targetWidth, rows: AxisTaps, columns: AxisTaps, done?: (error?: Error) => void), AxisTaps as in
 * src/features/resize.ts. With `done` it returns at once; the arrays must not be moved or written until then.
 */
Napi::Value ResizeFrame(const Napi::CallbackInfo& info);

/**
 * cutPatches(frames: Uint8Array | Float32Array, frameCount, height, width, fromStep, toStep, mean: Float32Array,
 * deviation: Float32Array, target: Float32Array)
 */
Napi::Value CutPatches(const Napi::CallbackInfo& info);

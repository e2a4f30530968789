// How the tensors of a run cross from JavaScript: numbers that describe them in one Float64Array, and the memory itself
// in a parallel array. Two arrays instead of a hundred small objects keep the crossing far below the cost of a step.
#pragma once

#include <napi.h>

#include <vector>

#include "session.h"

/**
 * `layout` holds [ONNX data type, byte offset, rank, ...dims] per tensor; `lent[i]` is its typed array, its slab, or null
 * for an output that is not wanted. Throws std::runtime_error when a tensor reaches past the end of its memory.
 */
std::vector<TensorView> ReadTensors(Napi::Float64Array layout, Napi::Array lent);

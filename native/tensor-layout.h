// How the tensors of a run are passed from JavaScript: their description as numbers in one Float64Array, and their
// memory in a second array. Two arrays instead of a hundred small objects, so that the call costs far less than a
// decode step.
#pragma once

#include <napi.h>

#include <vector>

#include "session.h"

/**
 * `layout` holds [ONNX data type, byte offset, rank, ...dims] per tensor. `memory[i]` is its typed array, its slab, or
 * null for an output that is not wanted. Throws std::runtime_error when a tensor reaches past the end of its memory.
 */
std::vector<TensorView> ReadTensors(Napi::Value layout, const std::vector<Napi::Value>& memory);

// Our kernel for GroupQueryAttention in sessions on a CPU: decode steps go to attention.h, all else to onnxruntime's
// own kernel.
#pragma once

#include "ort-api.h"

/** For sessions on a CPU. Throws std::runtime_error. */
void AddAttentionKernel(OrtSessionOptions* options);

// Our kernel for GroupQueryAttention in sessions on a CPU: decode steps go to attention.h, all else to onnxruntime's
// own kernel.
#pragma once

#include "ort-api.h"

/** Its description, which sessions keep pointers to: never freed. */
const OrtCustomOp* AttentionOp();

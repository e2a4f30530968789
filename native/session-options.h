// SessionConfig as onnxruntime's session options, execution provider included.
#pragma once

#include "session.h"

/** Throws std::runtime_error with onnxruntime's message, such as a CUDA provider that does not load. */
ort::SessionOptionsHandle MakeSessionOptions(const SessionConfig& config);

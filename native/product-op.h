// Our kernel for MatMulNBits in sessions on a CPU: product.h.
#pragma once

#include "ort-api.h"

/** Its description, which sessions keep pointers to: never freed. Null where the processor lacks what it needs. */
const OrtCustomOp* ProductOp();

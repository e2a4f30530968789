// Plain device memory from the CUDA runtime that onnxruntime's CUDA provider needs anyway. Kept out of onnxruntime's
// arena, so that a slab of many GiB neither fragments the arena nor needs a session to exist first.
#pragma once

#include <cstddef>

/** Zeroed memory on a CUDA device. Throws std::runtime_error when the runtime library is missing or memory is short. */
void* AllocateCuda(int device, size_t bytes);

/** Frees what AllocateCuda gave; waits for work on the device that may still touch it. */
void FreeCuda(int device, void* memory) noexcept;

// Plain device memory from the CUDA runtime that onnxruntime's CUDA provider needs anyway. Kept out of onnxruntime's
// arena, so that a slab of many GiB neither fragments the arena nor needs a session to exist first.
#pragma once

#include <cstddef>
#include <vector>

/** Bytes that go from one place to another of the same memory; the two do not overlap. */
struct PieceCopy {
  const std::byte* from;
  std::byte* to;
  size_t bytes;
};

/** Zeroed memory on a CUDA device. Throws std::runtime_error when the runtime library is missing or memory is short. */
void* AllocateCuda(int device, size_t bytes);

/** Frees what AllocateCuda gave; waits for work on the device that may still touch it. */
void FreeCuda(int device, void* memory) noexcept;

/** Copies pieces inside a CUDA device's memory and waits for them. Throws std::runtime_error with the runtime's message. */
void CopyCuda(int device, const std::vector<PieceCopy>& pieces);

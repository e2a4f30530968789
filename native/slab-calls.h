// Slabs as JavaScript calls them.
#pragma once

#include <napi.h>

#include <memory>

#include "slab.h"

/** ReadDevice({ type: 'cpu' } | { type: 'cuda', index }) */
Device ReadDevice(Napi::Object device);

/** The slab behind a handle. Throws std::runtime_error when it was released. */
std::shared_ptr<Slab> SlabOf(Napi::Value handle);

/** allocateSlab(device, bytes) → handle; throws when the memory is not to be had. */
Napi::Value AllocateSlab(const Napi::CallbackInfo& info);

/** releaseSlab(handle): frees the memory once no run uses it. */
void ReleaseSlab(const Napi::CallbackInfo& info);

// The JavaScript functions for slabs.
#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "slab.h"

/** ReadDevice({ type: 'cpu' } | { type: 'cuda', index }) */
Device ReadDevice(Napi::Object device);

/** The slab behind a handle. Throws std::runtime_error when it was released. */
std::shared_ptr<Slab> SlabOf(Napi::Value handle);

/** The slabs behind an array of handles, at least one. Throws std::runtime_error. May run JavaScript. */
std::vector<std::shared_ptr<Slab>> SlabsOf(Napi::Value handles);

/**
 * allocateSlab(device, bytes, pool?) → handle; throws when the memory cannot be allocated. With a page pool, only
 * addresses are reserved.
 */
Napi::Value AllocateSlab(const Napi::CallbackInfo& info);

/** releaseSlab(handle): frees the memory once no run or copy uses it. */
void ReleaseSlab(const Napi::CallbackInfo& info);

/**
 * copyWithinSlabs(handles, pieces, done): copies the same pieces inside each slab, outside the JavaScript thread. The
 * slabs are on one device. `pieces` holds [from, to, bytes] per piece, in bytes. Calls done() after success,
 * done(message) after a failure. Throws std::runtime_error when a piece reaches past a slab or overlaps itself. No run
 * may use the slabs meanwhile.
 */
void CopyWithinSlabs(const Napi::CallbackInfo& info);

/**
 * readSlab(handle, offset, target, done): fills the typed array `target` with the slab's bytes from `offset` on, outside
 * the JavaScript thread. Calls done() after success, done(message) after a failure. Throws std::runtime_error when it
 * reaches past the slab. No run may use the slab meanwhile.
 */
void ReadSlab(const Napi::CallbackInfo& info);

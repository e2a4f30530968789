// Copies inside one slab, off the JavaScript thread: a slot's first tokens to another slot.
#pragma once

#include <napi.h>

/**
 * copyWithinSlab(handle, pieces, done): `pieces` holds [from, to, bytes] per piece, in bytes; done(message?) when all are copied.
 * Throws std::runtime_error when a piece reaches past the slab or overlaps itself. No run may use the slab meanwhile.
 */
void CopyWithinSlab(const Napi::CallbackInfo& info);

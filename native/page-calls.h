// The JavaScript functions for page pools.
#pragma once

#include <napi.h>

#include <memory>

#include "page-pool.h"

/** The pool behind a handle. Throws std::runtime_error when it was released. */
std::shared_ptr<PagePool> PoolOf(Napi::Value handle);

/** createPagePool(device, bytes) → handle; throws when the device lacks the memory. */
Napi::Value CreatePagePool(const Napi::CallbackInfo& info);

/** pagePoolSize(handle) → [bytes of a page, pages] */
Napi::Value PagePoolSize(const Napi::CallbackInfo& info);

/** releasePagePool(handle): frees the memory once no slab uses the pool. */
void ReleasePagePool(const Napi::CallbackInfo& info);

/**
 * commitSlabs(handles, ranges, done): gives zeroed memory to these pages of each slab, outside the JavaScript thread.
 * The slabs are of one pool. `ranges` holds [from, bytes] per range, in bytes and whole pages. Calls done() after
 * success, done(message) after a failure, which has changed nothing. Throws std::runtime_error when a range reaches
 * past a slab or cuts a page. No run may use the pages meanwhile.
 */
void CommitSlabs(const Napi::CallbackInfo& info);

/** decommitSlabs(handles, ranges, done): takes the memory of these pages away, as commitSlabs gives it. */
void DecommitSlabs(const Napi::CallbackInfo& info);

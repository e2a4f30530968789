// A process that ends with its parent, whatever it is doing.
#pragma once

#include <napi.h>

/**
 * dieWithParent(parent): from now on, the kernel ends this process and its group when the process `parent` is gone, at
 * once if it is gone already. The caller must lead its group. (The kernel watches the thread that started us; that is
 * the parent's main thread, or one whose end should end us too.)
 */
void DieWithParent(const Napi::CallbackInfo& info);

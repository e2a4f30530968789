// A process that ends with its parent, whatever it is doing.
#pragma once

#include <napi.h>

/**
 * dieWithParent(parent): from now on, the kernel ends this process when the process `parent` is gone, and with it every
 * process that it forks from now on; at once if the parent is gone already. The caller must lead its group. (The kernel
 * watches the thread that started a process: the parent's main thread, or one whose end should end its children too.)
 */
void DieWithParent(const Napi::CallbackInfo& info);

#include "parent-death.h"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <mutex>
#include <stdexcept>

namespace {

// SIGKILL, which also ends a process that is stopped. A kernel that has no such thing: JavaScript looks for the parent,
// too.
void DieWithTheThreadThatForked() { prctl(PR_SET_PDEATHSIG, SIGKILL); }

// The decoders, whose standard library starts them: between fork and exec only such calls are allowed.
void PassOn() {
  static std::once_flag once;
  std::call_once(once, [] { pthread_atfork(nullptr, nullptr, DieWithTheThreadThatForked); });
}

}  // namespace

void DieWithParent(const Napi::CallbackInfo& info) {
  if (!info[0].IsNumber()) throw std::runtime_error("dieWithParent needs a process id. This is a bug.");
  if (getpgrp() != getpid()) throw std::runtime_error("This process does not lead its group. This is a bug.");
  DieWithTheThreadThatForked();
  PassOn();
  if (getppid() != info[0].As<Napi::Number>().Int32Value()) kill(0, SIGKILL);
}

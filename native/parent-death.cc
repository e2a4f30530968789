#include "parent-death.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <stdexcept>

namespace {

// The group, because our decoders are in it. Only functions that a signal handler may call.
void KillGroup(int) { kill(0, SIGKILL); }

}  // namespace

void DieWithParent(const Napi::CallbackInfo& info) {
  if (!info[0].IsNumber()) throw std::runtime_error("dieWithParent needs a process id. This is a bug.");
  if (getpgrp() != getpid()) throw std::runtime_error("This process does not lead its group. This is a bug.");
  // SIGKILL itself would end us alone. Nobody else uses the last real-time signal.
  struct sigaction action {};
  action.sa_handler = KillGroup;
  sigfillset(&action.sa_mask);
  sigaction(SIGRTMAX, &action, nullptr);
  prctl(PR_SET_PDEATHSIG, SIGRTMAX);  // a kernel that has no such thing: JavaScript looks for the parent, too
  if (getppid() != info[0].As<Napi::Number>().Int32Value()) KillGroup(SIGRTMAX);
}

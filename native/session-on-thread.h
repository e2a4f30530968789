// A session as JavaScript holds it: its own thread, the jobs under way, and their way back to JavaScript. Jobs run in
// order. All members are called on the JavaScript thread that made the object; only a job's work is not.
#pragma once

#include <napi.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "job-thread.h"
#include "session.h"

class SessionOnThread {
 public:
  explicit SessionOnThread(Napi::Env env);
  ~SessionOnThread();
  SessionOnThread(const SessionOnThread&) = delete;
  SessionOnThread& operator=(const SessionOnThread&) = delete;

  /**
   * Queues `job` and later calls done(message) with what it threw, or done() when it went well. `lent` holds the
   * JavaScript values whose memory the job uses. Answers the job's ticket.
   */
  uint32_t Submit(Napi::Env env, ThreadJob job, Napi::Array lent, Napi::Function done);

  /** Frees the session after the jobs that were submitted before, calls done(), and ends the thread. Nothing follows it. */
  void Retire(Napi::Env env, Napi::Array lent, Napi::Function done);

  /** Ends a job early, whether it waits or runs; its done() is still called. Unknown tickets are ignored. */
  void Hasten(uint32_t ticket);

  /** Ends the thread. Jobs under way are cut short and never answered: for the end of an environment, and for garbage. */
  void Close();

  /** The loaded graph; used on the thread only, except for its names once it is loaded. */
  std::unique_ptr<Session> session;

 private:
  struct Job {
    uint32_t ticket;
    ThreadJob thread_job;
    std::string error;
    Napi::Reference<Napi::Array> lent;
    Napi::FunctionReference done;
  };

  static void Deliver(Napi::Env env, Napi::Function, SessionOnThread* self, Job* job);
  using Courier = Napi::TypedThreadSafeFunction<SessionOnThread, Job, Deliver>;

  static void OnEnvironmentEnd(void* self);
  void Perform(Job* job);
  void Finish(Napi::Env env, Job* job);

  napi_env env_;
  Courier courier_;
  std::atomic<bool> closed_{false};
  uint32_t last_ticket_ = 0;
  uint32_t retiring_ticket_ = 0;
  std::unordered_map<uint32_t, std::unique_ptr<Job>> jobs_;
  JobThread thread_;
};

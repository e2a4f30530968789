// A session with its own thread, as JavaScript uses it: jobs run in order, and their results are delivered to
// JavaScript. All members are called on the JavaScript thread that created the object; only a job's work runs on the
// session's thread.
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
   * Queues `job`. Later calls done() after success, done(message) with the message of what the job threw. `kept_alive`
   * holds the JavaScript values whose memory the job uses. Returns the job's ticket.
   */
  uint32_t Submit(Napi::Env env, ThreadJob job, Napi::Array kept_alive, Napi::Function done);

  /**
   * Like Submit, for a job in three parts: the first and the last one happen on another thread, so that they can run
   * beside the middle part of other jobs. Each kind of part keeps the order of the jobs.
   */
  uint32_t SubmitInParts(Napi::Env env, std::function<void()> before, ThreadJob middle, std::function<void()> after,
                         Napi::Array kept_alive, Napi::Function done);

  /**
   * Frees the session after the jobs submitted so far, calls done() and ends the thread. No job can be submitted after
   * it.
   */
  void Release(Napi::Env env, Napi::Array kept_alive, Napi::Function done);

  /** Asks a waiting or running job to end early. Its done() is still called. Unknown tickets are ignored. */
  void RequestStop(uint32_t ticket);

  /**
   * Ends the thread. Jobs are stopped and their done() is never called: at the end of an environment, or when
   * collected.
   */
  void Close();

  /** The loaded graph. Only used on the session's thread, except for its names once it is loaded. */
  std::unique_ptr<Session> session;

 private:
  struct Job {
    uint32_t ticket;
    ThreadJob thread_job;
    std::function<void()> before;
    std::function<void()> after;
    std::string error;
    Napi::Reference<Napi::Array> kept_alive;
    Napi::FunctionReference done;
  };

  static void Deliver(Napi::Env env, Napi::Function, SessionOnThread* self, Job* job);
  using ThreadSafeCallback = Napi::TypedThreadSafeFunction<SessionOnThread, Job, Deliver>;

  static void OnEnvironmentEnd(void* self);
  Job* Add(Napi::Env env, ThreadJob thread_job, Napi::Array kept_alive, Napi::Function done);
  void PostInParts(Job* job);
  void Perform(Job* job, const std::function<void()>& part);
  void Answer(Job* job);
  void Finish(Napi::Env env, Job* job);

  napi_env env_;
  ThreadSafeCallback callback_;
  std::atomic<bool> closed_{false};
  uint32_t last_ticket_ = 0;
  uint32_t release_ticket_ = 0;
  std::unordered_map<uint32_t, std::unique_ptr<Job>> jobs_;
  JobThread thread_;
  std::unique_ptr<JobThread> other_thread_;  // made by the first job in parts
};

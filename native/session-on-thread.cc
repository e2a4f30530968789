#include "session-on-thread.h"

#include <stdexcept>
#include <utility>

SessionOnThread::SessionOnThread(Napi::Env env) : env_(env), courier_(Courier::New(env, "avocado session", 0, 1, this)) {
  courier_.Unref(env);
  // Registered after the courier's own hook, so it runs before: the thread is gone when the courier goes.
  napi_add_env_cleanup_hook(env, &OnEnvironmentEnd, this);
}

SessionOnThread::~SessionOnThread() { Close(); }

uint32_t SessionOnThread::Submit(Napi::Env env, ThreadJob thread_job, Napi::Array lent, Napi::Function done) {
  if (closed_ || retiring_ticket_ != 0) throw std::runtime_error("The session was released already. This is a bug.");
  auto job = std::make_unique<Job>();
  job->ticket = ++last_ticket_;
  job->thread_job = std::move(thread_job);
  job->lent = Napi::Reference<Napi::Array>::New(lent, 1);
  job->done = Napi::Persistent(done);
  Job* raw = job.get();
  // Work under way keeps the process alive; an idle session does not.
  if (jobs_.empty()) courier_.Ref(env);
  jobs_.emplace(raw->ticket, std::move(job));
  thread_.Post({[this, raw] { Perform(raw); }, raw->thread_job.hasten});
  return raw->ticket;
}

void SessionOnThread::Retire(Napi::Env env, Napi::Array lent, Napi::Function done) {
  retiring_ticket_ = Submit(env, {[this] { session.reset(); }, nullptr}, lent, done);
}

void SessionOnThread::Hasten(uint32_t ticket) {
  const auto found = jobs_.find(ticket);
  if (found != jobs_.end() && found->second->thread_job.hasten) found->second->thread_job.hasten();
}

void SessionOnThread::Close() {
  if (closed_.exchange(true)) return;
  thread_.Stop();
  jobs_.clear();
  session.reset();
  courier_.Release();
  napi_remove_env_cleanup_hook(env_, &OnEnvironmentEnd, this);
}

void SessionOnThread::OnEnvironmentEnd(void* self) { static_cast<SessionOnThread*>(self)->Close(); }

void SessionOnThread::Perform(Job* job) {
  try {
    job->thread_job.work();
  } catch (const std::exception& error) {
    job->error = error.what();
    if (job->error.empty()) job->error = "unknown error";
  }
  if (!closed_) courier_.NonBlockingCall(job);
}

void SessionOnThread::Deliver(Napi::Env env, Napi::Function, SessionOnThread* self, Job* job) {
  // Without an environment nobody listens, and `self` and `job` are gone already.
  if (env == nullptr) return;
  self->Finish(env, job);
}

void SessionOnThread::Finish(Napi::Env env, Job* job) {
  const auto found = jobs_.find(job->ticket);
  if (found == jobs_.end()) return;
  const std::unique_ptr<Job> finished = std::move(found->second);
  jobs_.erase(found);
  if (jobs_.empty()) courier_.Unref(env);
  if (finished->ticket == retiring_ticket_) Close();
  try {
    finished->done.Call({finished->error.empty() ? env.Undefined() : Napi::String::New(env, finished->error)});
  } catch (const Napi::Error&) {
    // The thread that asked is being terminated: throwing into it would abort the process.
  }
}

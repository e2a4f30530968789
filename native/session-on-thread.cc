#include "session-on-thread.h"

#include <stdexcept>
#include <utility>

SessionOnThread::SessionOnThread(Napi::Env env)
    : env_(env), callback_(ThreadSafeCallback::New(env, "avocado session", 0, 1, this)) {
  callback_.Unref(env);
  // Hooks run in reverse order of registration: the thread ends before the callback's own hook runs.
  napi_add_env_cleanup_hook(env, &OnEnvironmentEnd, this);
}

SessionOnThread::~SessionOnThread() { Close(); }

SessionOnThread::Job* SessionOnThread::Add(Napi::Env env, ThreadJob thread_job, Napi::Array kept_alive,
                                           Napi::Function done) {
  if (closed_ || release_ticket_ != 0) throw std::runtime_error("The session was released already. This is a bug.");
  auto job = std::make_unique<Job>();
  job->ticket = ++last_ticket_;
  job->thread_job = std::move(thread_job);
  job->kept_alive = Napi::Reference<Napi::Array>::New(kept_alive, 1);
  job->done = Napi::Persistent(done);
  Job* raw = job.get();
  // A job in progress keeps the process alive; an idle session does not.
  if (jobs_.empty()) callback_.Ref(env);
  jobs_.emplace(raw->ticket, std::move(job));
  return raw;
}

uint32_t SessionOnThread::Submit(Napi::Env env, ThreadJob thread_job, Napi::Array kept_alive, Napi::Function done) {
  Job* job = Add(env, std::move(thread_job), kept_alive, done);
  if (other_thread_ != nullptr) {
    PostInParts(job);  // after the jobs whose first part has not ended
  } else {
    const auto perform = [this, job] {
      Perform(job, job->thread_job.work);
      Answer(job);
    };
    thread_.Post({perform, job->thread_job.request_stop});
  }
  return job->ticket;
}

uint32_t SessionOnThread::SubmitInParts(Napi::Env env, std::function<void()> before, ThreadJob middle,
                                        std::function<void()> after, Napi::Array kept_alive, Napi::Function done) {
  Job* job = Add(env, std::move(middle), kept_alive, done);
  job->before = std::move(before);
  job->after = std::move(after);
  if (other_thread_ == nullptr) other_thread_ = std::make_unique<JobThread>();
  PostInParts(job);
  return job->ticket;
}

void SessionOnThread::PostInParts(Job* job) {
  const auto last = [this, job] {
    Perform(job, job->after);
    Answer(job);
  };
  const auto middle = [this, job, last] {
    Perform(job, job->thread_job.work);
    other_thread_->Post({last, nullptr});
  };
  const auto first = [this, job, middle] {
    Perform(job, job->before);
    thread_.Post({middle, job->thread_job.request_stop});
  };
  other_thread_->Post({first, nullptr});
}

void SessionOnThread::Release(Napi::Env env, Napi::Array kept_alive, Napi::Function done) {
  release_ticket_ = Submit(env, {[this] { session.reset(); }, nullptr}, kept_alive, done);
}

void SessionOnThread::RequestStop(uint32_t ticket) {
  const auto found = jobs_.find(ticket);
  if (found == jobs_.end()) return;
  const ThreadJob& job = found->second->thread_job;
  if (job.request_stop) job.request_stop();
}

void SessionOnThread::Close() {
  if (closed_.exchange(true)) return;
  thread_.Stop();
  if (other_thread_ != nullptr) other_thread_->Stop();
  jobs_.clear();
  session.reset();
  callback_.Release();
  napi_remove_env_cleanup_hook(env_, &OnEnvironmentEnd, this);
}

void SessionOnThread::OnEnvironmentEnd(void* self) { static_cast<SessionOnThread*>(self)->Close(); }

void SessionOnThread::Perform(Job* job, const std::function<void()>& part) {
  if (!part || !job->error.empty()) return;
  try {
    part();
  } catch (const std::exception& error) {
    job->error = error.what();
    if (job->error.empty()) job->error = "unknown error";
  }
}

void SessionOnThread::Answer(Job* job) {
  if (!closed_) callback_.NonBlockingCall(job);
}

void SessionOnThread::Deliver(Napi::Env env, Napi::Function, SessionOnThread* self, Job* job) {
  // Without an environment, `self` and `job` are deleted already.
  if (env == nullptr) return;
  self->Finish(env, job);
}

void SessionOnThread::Finish(Napi::Env env, Job* job) {
  const auto found = jobs_.find(job->ticket);
  if (found == jobs_.end()) return;
  const std::unique_ptr<Job> finished = std::move(found->second);
  jobs_.erase(found);
  if (jobs_.empty()) callback_.Unref(env);
  if (finished->ticket == release_ticket_) Close();
  try {
    finished->done.Call({finished->error.empty() ? env.Undefined() : Napi::String::New(env, finished->error)});
  } catch (const Napi::Error&) {
    // The calling thread is being terminated: an exception in it would abort the process.
  }
}

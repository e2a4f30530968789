#include "job-thread.h"

#include <cstdlib>
#include <set>
#include <utility>

namespace {

// All live threads of the process. exit() runs no cleanup hook of Node's main thread, and a thread that is still inside
// onnxruntime while onnxruntime's static destructors run crashes the process. So atexit stops the threads first. The
// registry is never freed, because exit() uses it last.
struct Registry {
  std::mutex mutex;
  std::set<JobThread*> threads;

  Registry() { std::atexit(&StopAll); }

  static void StopAll();
};

Registry& Threads() {
  static auto* const registry = new Registry();
  return *registry;
}

void Registry::StopAll() {
  const std::lock_guard<std::mutex> lock(Threads().mutex);
  for (JobThread* thread : Threads().threads) thread->Stop();
}

}  // namespace

JobThread::JobThread() {
  const std::lock_guard<std::mutex> lock(Threads().mutex);
  Threads().threads.insert(this);
  thread_ = std::thread([this] { Loop(); });
}

JobThread::~JobThread() {
  {
    const std::lock_guard<std::mutex> lock(Threads().mutex);
    Threads().threads.erase(this);
  }
  Stop();
}

void JobThread::Post(ThreadJob job) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) return;
    queue_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void JobThread::Stop() noexcept {
  std::deque<ThreadJob> dropped;  // destroyed after the lock is released
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    dropped.swap(queue_);
    if (request_stop_) request_stop_();
  }
  wake_.notify_one();
  const std::lock_guard<std::mutex> lock(join_mutex_);
  if (thread_.joinable()) thread_.join();
}

void JobThread::Loop() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    ThreadJob job = std::move(queue_.front());
    queue_.pop_front();
    request_stop_ = job.request_stop;
    lock.unlock();
    job.work();
    lock.lock();
    request_stop_ = nullptr;
  }
}

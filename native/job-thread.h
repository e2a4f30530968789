// A thread that does one job after another, in order. Knows no JavaScript and no onnxruntime.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

struct ThreadJob {
  std::function<void()> work;  // must not throw
  std::function<void()> hasten;  // called from another thread to end `work` early; may be empty
};

class JobThread {
 public:
  JobThread();
  ~JobThread();
  JobThread(const JobThread&) = delete;
  JobThread& operator=(const JobThread&) = delete;

  void Post(ThreadJob job);

  /** Drops what waits, hastens what runs and returns when the thread has ended. Any thread may call it, more than once. */
  void Stop() noexcept;

 private:
  void Loop();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<ThreadJob> queue_;
  std::function<void()> hasten_running_;
  bool stopping_ = false;
  std::mutex join_mutex_;
  std::thread thread_;
};

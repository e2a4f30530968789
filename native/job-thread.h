// A thread that runs jobs in order, one at a time. Independent of JavaScript and onnxruntime.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

struct ThreadJob {
  std::function<void()> work;  // must not throw
  std::function<void()> request_stop;  // called from another thread to end `work` early; may be empty
};

class JobThread {
 public:
  JobThread();
  ~JobThread();
  JobThread(const JobThread&) = delete;
  JobThread& operator=(const JobThread&) = delete;

  void Post(ThreadJob job);

  /**
   * Drops waiting jobs, asks the running job to stop and returns when the thread has ended. Any thread may call it,
   * more than once.
   */
  void Stop() noexcept;

 private:
  void Loop();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<ThreadJob> queue_;
  std::function<void()> request_stop_;  // of the running job
  bool stopping_ = false;
  std::mutex join_mutex_;
  std::thread thread_;
};

// Work on slabs outside the JavaScript thread.
#pragma once

#include <napi.h>

#include <functional>
#include <utility>

/**
 * Works on a thread of the libuv pool: with long prompts, gigabytes are copied. Calls done() after success,
 * done(message) after a failure, and deletes itself.
 */
class SlabWorker : public Napi::AsyncWorker {
 public:
  /** `kept_alive` holds the JavaScript values whose memory the work uses, if any. */
  static void Start(Napi::Function done, std::function<void()> work, Napi::ObjectReference kept_alive = {}) {
    (new SlabWorker(done, std::move(work), std::move(kept_alive)))->Queue();
  }

 private:
  SlabWorker(Napi::Function done, std::function<void()> work, Napi::ObjectReference kept_alive)
      : AsyncWorker(done), work_(std::move(work)), kept_alive_(std::move(kept_alive)) {}

  void Execute() override { work_(); }

  void OnOK() override { CallDone(Env().Undefined()); }
  void OnError(const Napi::Error& error) override { CallDone(Napi::String::New(Env(), error.Message())); }

  void CallDone(Napi::Value message) {
    try {
      Callback().Call({message});
    } catch (const Napi::Error&) {
      // The calling thread is being terminated: an exception in it would abort the process.
    }
  }

  std::function<void()> work_;
  Napi::ObjectReference kept_alive_;
};

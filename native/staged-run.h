// A run on a CUDA device whose host tensors have places on the device: all small inputs come in one copy and all small
// outputs go in another, through pinned memory; a large tensor takes a copy of its own.
#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "cuda-memory.h"
#include "session.h"

/** Staging memory that no run uses: pinned memory takes long to allocate. */
class StagingPool {
 public:
  std::unique_ptr<CudaStaging> Take();
  void Put(std::unique_ptr<CudaStaging> staging);

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<CudaStaging>> idle_;
};

class StagedRun {
 public:
  /** Binds slabs where they are, and all other tensors to places in `staging`. Throws std::runtime_error. */
  StagedRun(const Session& session, const RunRequest& request, std::unique_ptr<CudaStaging> staging);

  /**
   * The three parts of a run, in this order. Requests must have tensors of the shapes and the slabs of the first one.
   * Upload and Download may happen on other threads, while other runs compute. A recorded run and its copies are in one
   * stream, and only its end is waited for.
   */
  void Upload(const RunRequest& request);
  void Execute(RunRequest& request);
  void Download(const RunRequest& request);

  /** All three parts. When it throws, nothing of the run is still under way. */
  void Perform(RunRequest& request);

  /** Frees what belongs to the session. Only Download may follow. */
  void Unbind() { binding_.reset(); }

  /** The memory, for another run. This run cannot be used again. */
  std::unique_ptr<CudaStaging> TakeStaging() { return std::move(staging_); }

 private:
  /** A tensor of the caller's host memory and its place in the staging memory. */
  struct Place {
    size_t index;
    size_t offset;
    bool is_large;
    bool on_host;
  };

  void AddPlaces(std::vector<Place>& places, const std::vector<TensorView>& views, bool is_large);
  std::vector<TensorView> Placed(const std::vector<TensorView>& views, const std::vector<Place>& places) const;
  void Bind() const;
  /** The stream may hold copies and kernels of a run that failed: they use places, slabs and the caller's memory. */
  void WaitOrLose() const noexcept;

  const Session& session_;
  const bool in_one_stream_;
  const std::vector<TensorView> inputs_;
  const std::vector<TensorView> outputs_;
  std::vector<Place> input_places_;
  std::vector<Place> output_places_;
  size_t small_input_bytes_ = 0;
  size_t small_bytes_ = 0;
  size_t bytes_ = 0;
  std::unique_ptr<CudaStaging> staging_;
  ort::IoBindingHandle binding_;
};

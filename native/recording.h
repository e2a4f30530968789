// A run that is repeated with other values at the same addresses, so that CUDA can replay it as one graph.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "cuda-memory.h"
#include "session.h"

class Recording {
 public:
  /** Binds slabs where they are, and all other tensors to a block of staging memory. */
  Recording(const Session& session, const RunRequest& first);

  /** Copies the inputs to the device, runs, copies the outputs back. Throws std::runtime_error. */
  void Run(const RunRequest& request);

 private:
  /** A tensor of the caller's host memory and its place in the block. */
  struct Staged {
    size_t index;
    size_t offset;
    bool on_host;
  };

  void Expect(const std::vector<TensorView>& views, const std::vector<TensorView>& known) const;

  const Session& session_;
  std::vector<TensorView> inputs_;
  std::vector<TensorView> outputs_;
  std::vector<Staged> staged_inputs_;
  std::vector<Staged> staged_outputs_;
  size_t input_bytes_ = 0;
  size_t bytes_ = 0;
  std::unique_ptr<CudaStaging> staging_;
  ort::IoBindingHandle binding_;
};

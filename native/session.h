// One loaded graph and its binding. Knows no JavaScript; used from one thread, except RunTerminator.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "device.h"
#include "ort-library.h"
#include "slab.h"

struct SessionConfig {
  Device device;
  int threads = 0;
  bool spinning = false;
  bool disable_prepacking = false;
  int log_severity = ort::LOG_ERRORS;
  /** most bytes onnxruntime may take on a CUDA device for weights and scratch; 0 = no limit of ours */
  uint64_t device_memory_limit = 0;
};

/** Memory that somebody else keeps alive while a run uses it. */
struct TensorView {
  int type = 0;  // ONNX data type
  std::vector<int64_t> dims;
  void* memory = nullptr;
  size_t bytes = 0;
  Device device;
  std::shared_ptr<Slab> slab;  // set when the memory belongs to a slab
};

/** Stops one run from any thread, before or while it happens; the run then fails between two graph nodes. */
class RunTerminator {
 public:
  RunTerminator();
  void Terminate() noexcept;
  const OrtRunOptions* options() const { return options_.get(); }

 private:
  ort::RunOptionsHandle options_;
};

/** What one run reads and writes: an entry per graph input and output; an output without memory is not wanted. */
struct RunRequest {
  std::vector<TensorView> inputs;
  std::vector<TensorView> outputs;
  RunTerminator terminator;
};

class Session {
 public:
  /** Loads a serialised ModelProto. Throws std::runtime_error with onnxruntime's message. */
  Session(const void* model, size_t bytes, const SessionConfig& config);

  const std::vector<std::string>& inputs() const { return inputs_; }
  const std::vector<std::string>& outputs() const { return outputs_; }

  /** Runs the graph into the request's outputs. Throws std::runtime_error with onnxruntime's message. */
  void Run(const RunRequest& request);

 private:
  void Bind(const RunRequest& request);
  ort::ValueHandle ValueOf(const TensorView& view) const;

  Device device_;
  ort::MemoryInfoHandle host_memory_;
  ort::MemoryInfoHandle device_memory_;
  ort::SessionHandle session_;
  ort::IoBindingHandle binding_;
  std::vector<std::string> inputs_;
  std::vector<std::string> outputs_;
};

// One loaded graph and its binding. Independent of JavaScript. Used from one thread, except RunTerminator.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ort-library.h"
#include "slab.h"

struct SessionConfig {
  Device device;
  int threads = 0;
  bool spinning = false;
  bool disable_prepacking = false;
  /** CUDA only: a run may be recorded as a CUDA graph. All nodes must be on the device. */
  bool recordings = false;
  /** inputs that the graph's kernels read in host memory */
  std::vector<std::string> host_inputs;
  /** CPU: operators that have a kernel of ours get it */
  bool own_kernels = false;
  int log_severity = ort::LOG_ERRORS;
};

/** A tensor's memory. The caller keeps it alive while a run uses it. */
struct TensorView {
  int type = 0;  // ONNX data type
  std::vector<int64_t> dims;
  void* memory = nullptr;
  size_t bytes = 0;
  Device device;
  std::shared_ptr<Slab> slab;  // set when the memory is part of a slab
};

/** Stops one run, from any thread, before or during it. The run then fails between two graph nodes. */
class RunTerminator {
 public:
  RunTerminator();
  void Terminate() noexcept;
  void Configure(const char* key, const std::string& value);
  const OrtRunOptions* options() const { return options_.get(); }

 private:
  ort::RunOptionsHandle options_;
};

constexpr int NOT_RECORDED = -1;

/** What one run reads and writes: an entry per graph input and output. An output without memory is not computed. */
struct RunRequest {
  std::vector<TensorView> inputs;
  std::vector<TensorView> outputs;
  RunTerminator terminator;
  /**
   * All runs with the same number have tensors of the same shapes and the same slabs. The first one is recorded and the
   * others replay it: one launch instead of one for each kernel. Host inputs keep the value of the first run.
   */
  int recording = NOT_RECORDED;
};

class CudaStream;
class StagedRun;
class StagingPool;

class Session {
 public:
  /** Loads a serialised ModelProto. Throws std::runtime_error with onnxruntime's message. */
  Session(const void* model, size_t bytes, const SessionConfig& config);
  ~Session();

  const std::vector<std::string>& inputs() const { return inputs_; }
  const std::vector<std::string>& outputs() const { return outputs_; }

  /** Runs the graph into the request's outputs. Throws std::runtime_error with onnxruntime's message. */
  void Run(RunRequest& request);

  /** Whether a run has the parts of StagedRun, so that its copies can happen while another one computes. */
  bool has_parts() const { return device_.type == Device::Type::kCuda && !recordings_enabled_; }
  const std::shared_ptr<StagingPool>& staging() const { return staging_; }

 private:
  friend class StagedRun;

  void Bind(const RunRequest& request);
  ort::ValueHandle ValueOf(const TensorView& view) const;
  ort::IoBindingHandle MakeBinding() const;

  Device device_;
  bool recordings_enabled_;
  ort::MemoryInfoHandle host_memory_;
  ort::MemoryInfoHandle device_memory_;
  /** of recorded runs and their copies; null where runs are not recorded */
  std::shared_ptr<CudaStream> stream_;
  ort::SessionHandle session_;
  ort::IoBindingHandle binding_;
  std::vector<std::string> inputs_;
  std::vector<std::string> outputs_;
  std::vector<size_t> host_inputs_;
  std::map<int, std::unique_ptr<StagedRun>> recordings_;
  std::shared_ptr<StagingPool> staging_;
};

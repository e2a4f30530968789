#include "session.h"

#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <utility>
#include <vector>

#include "attention-op.h"
#include "cuda-memory.h"
#include "cuda-runtime.h"
#include "custom-op.h"
#include "product-op.h"
#include "staged-run.h"

namespace {

using CountFunction = OrtStatus* (*)(const OrtSession*, size_t*);
using NameFunction = OrtStatus* (*)(const OrtSession*, size_t, OrtAllocator*, char**);

std::vector<std::string> ReadNames(const OrtSession* session, CountFunction count_of, NameFunction name_of) {
  const auto& api = ort::GetApi();
  OrtAllocator* allocator = nullptr;
  ort::Check(api.GetAllocatorWithDefaultOptions(&allocator));
  size_t count = 0;
  ort::Check(count_of(session, &count));
  std::vector<std::string> names;
  for (size_t index = 0; index < count; index++) {
    char* name = nullptr;
    ort::Check(name_of(session, index, allocator, &name));
    names.emplace_back(name);
    ort::Check(api.AllocatorFree(allocator, name));
  }
  return names;
}

ort::MemoryInfoHandle MakeMemoryInfo(const Device& device) {
  const char* name = device.type == Device::Type::kCuda ? "Cuda" : "Cpu";
  OrtMemoryInfo* raw = nullptr;
  ort::Check(ort::GetApi().CreateMemoryInfo(name, ort::DEVICE_ALLOCATOR, device.index, ort::DEFAULT_MEMORY, &raw));
  return ort::MemoryInfoHandle(raw);
}

/** @param stream of all runs; null: one of the provider's own */
void AppendCuda(OrtSessionOptions* options, const SessionConfig& config, const CudaStream* stream) {
  const auto& api = ort::GetApi();
  OrtCudaOptions* raw = nullptr;
  ort::Check(api.CreateCUDAProviderOptions(&raw));
  const ort::CudaOptionsHandle cuda(raw);
  const std::string device = std::to_string(config.device.index);
  std::vector<const char*> keys = {
      "device_id",
      "arena_extend_strategy",               // grow by what is needed; doubling would take memory from the KV cache
      "cudnn_conv_algo_search",              // EXHAUSTIVE would benchmark again for every new clip length
      "use_tf32",                            // fp32 means fp32
      "enable_skip_layer_norm_strict_mode",  // sums in fp32, like the reference
      "enable_cuda_graph",
  };
  std::vector<const char*> values = {device.c_str(), "kSameAsRequested", "HEURISTIC", "0", "1",
                                     config.recordings ? "1" : "0"};
  std::string address;
  if (stream != nullptr) {
    address = std::to_string(reinterpret_cast<uintptr_t>(stream->handle()));
    keys.insert(keys.end(), {"has_user_compute_stream", "user_compute_stream"});
    values.insert(values.end(), {"1", address.c_str()});
  }
  ort::Check(api.UpdateCUDAProviderOptions(cuda.get(), keys.data(), values.data(), keys.size()));
  ChooseDevice(config.device.index);  // the provider allocates a byte, to see that CUDA works, before it chooses one
  ort::Check(api.SessionOptionsAppendExecutionProvider_CUDA_V2(options, cuda.get()));
}

OrtCustomOpDomain* MakeOwnKernels() {
  OrtCustomOpDomain* domain = nullptr;
  ort::Check(ort::GetApi().CreateCustomOpDomain(OWN_KERNELS_DOMAIN, &domain));
  ort::Check(ort::GetApi().CustomOpDomain_Add(domain, AttentionOp()));
  if (const OrtCustomOp* product = ProductOp()) ort::Check(ort::GetApi().CustomOpDomain_Add(domain, product));
  return domain;
}

void AddOwnKernels(OrtSessionOptions* options) {
  static OrtCustomOpDomain* const domain = MakeOwnKernels();
  ort::Check(ort::GetApi().AddCustomOpDomain(options, domain));
}

/** Microseconds: longer than most nodes that only one thread works on, and far shorter than the pause between runs. */
constexpr char kBriefSpin[] = "20";

/**
 * Session options with the execution provider. Throws onnxruntime's message, such as a CUDA provider that does not
 * load.
 */
ort::SessionOptionsHandle MakeSessionOptions(const SessionConfig& config, const CudaStream* stream) {
  const auto& api = ort::GetApi();
  OrtSessionOptions* raw = nullptr;
  ort::Check(api.CreateSessionOptions(&raw));
  ort::SessionOptionsHandle options(raw);
  ort::Check(api.SetSessionLogSeverityLevel(raw, config.log_severity));
  ort::Check(api.SetSessionGraphOptimizationLevel(raw, ort::ALL_OPTIMISATIONS));
  if (config.threads > 0) ort::Check(api.SetIntraOpNumThreads(raw, config.threads));
  const bool is_on_cpu = config.device.type == Device::Type::kCpu;
  const bool spins = config.spinning || is_on_cpu;
  ort::Check(api.AddSessionConfigEntry(raw, "session.intra_op.allow_spinning", spins ? "1" : "0"));
  if (config.own_kernels) AddOwnKernels(raw);
  if (is_on_cpu && !config.spinning) {
    ort::Check(api.AddSessionConfigEntry(raw, "session.intra_op.spin_duration_us", kBriefSpin));
    // Before 1.30 there is no such limit. Then threads spin until the run ends.
    ort::Check(api.AddSessionConfigEntry(raw, "session.force_spinning_stop", "1"));
  }
  ort::Check(api.AddSessionConfigEntry(raw, "session.disable_prepacking", config.disable_prepacking ? "1" : "0"));
  // Weights stay in the checkpoint's files. onnxruntime refuses absolute paths and symlinks that leave the model's
  // folder, so the folder is "/".
  ort::Check(api.AddSessionConfigEntry(raw, "session.model_external_initializers_file_folder_path", "/"));
  if (config.device.type == Device::Type::kCuda) {
    // So weights that the provider rearranges when it loads them go back to the device: the arena would keep them.
    ort::Check(api.AddSessionConfigEntry(raw, "session.use_device_allocator_for_initializers", "1"));
    AppendCuda(raw, config, stream);
  }
  return options;
}

ort::SessionHandle LoadSession(const void* model, size_t bytes, const SessionConfig& config,
                               const CudaStream* stream) {
  const ort::SessionOptionsHandle options = MakeSessionOptions(config, stream);
  OrtSession* raw = nullptr;
  ort::Check(ort::GetApi().CreateSessionFromArray(ort::GetEnv(), model, bytes, options.get(), &raw));
  return ort::SessionHandle(raw);
}

ort::SessionHandle MakeSession(const void* model, size_t bytes, const SessionConfig& config,
                               const CudaStream* stream) {
  if (!config.own_kernels) return LoadSession(model, bytes, config, stream);
  try {
    return LoadSession(model, bytes, config, stream);
  } catch (const std::runtime_error&) {
    // Libraries before 1.29 do not let our kernels call theirs, and other weights are not for ours. Anything else fails
    // once more.
    SessionConfig without = config;
    without.own_kernels = false;
    return LoadSession(model, bytes, without, stream);
  }
}

}  // namespace

RunTerminator::RunTerminator() {
  OrtRunOptions* raw = nullptr;
  ort::Check(ort::GetApi().CreateRunOptions(&raw));
  options_.reset(raw);
}

void RunTerminator::Terminate() noexcept {
  const auto& api = ort::GetApi();
  if (OrtStatus* status = api.RunOptionsSetTerminate(options_.get())) api.ReleaseStatus(status);
}

void RunTerminator::Configure(const char* key, const std::string& value) {
  ort::Check(ort::GetApi().AddRunConfigEntry(options_.get(), key, value.c_str()));
}

Session::Session(const void* model, size_t bytes, const SessionConfig& config)
    : device_(config.device),
      recordings_enabled_(config.recordings && config.device.type == Device::Type::kCuda),
      host_memory_(MakeMemoryInfo(Device{})),
      device_memory_(MakeMemoryInfo(config.device)),
      stream_(recordings_enabled_ ? std::make_shared<CudaStream>(config.device.index) : nullptr),
      session_(MakeSession(model, bytes, config, stream_.get())),
      staging_(std::make_shared<StagingPool>()) {
  const auto& api = ort::GetApi();
  binding_ = MakeBinding();
  inputs_ = ReadNames(session_.get(), api.SessionGetInputCount, api.SessionGetInputName);
  outputs_ = ReadNames(session_.get(), api.SessionGetOutputCount, api.SessionGetOutputName);
  for (const std::string& name : config.host_inputs) {
    const auto found = std::find(inputs_.begin(), inputs_.end(), name);
    if (found != inputs_.end()) host_inputs_.push_back(static_cast<size_t>(found - inputs_.begin()));
  }
}

Session::~Session() = default;

ort::IoBindingHandle Session::MakeBinding() const {
  OrtIoBinding* raw = nullptr;
  ort::Check(ort::GetApi().CreateIoBinding(session_.get(), &raw));
  return ort::IoBindingHandle(raw);
}

ort::ValueHandle Session::ValueOf(const TensorView& view) const {
  const bool on_host = view.device.type == Device::Type::kCpu;
  if (!on_host && view.device != device_) {
    throw std::runtime_error("A slab of another device was bound. This is a bug.");
  }
  OrtValue* raw = nullptr;
  const OrtMemoryInfo* memory = on_host ? host_memory_.get() : device_memory_.get();
  ort::Check(ort::GetApi().CreateTensorWithDataAsOrtValue(memory, view.memory, view.bytes, view.dims.data(),
                                                          view.dims.size(), view.type, &raw));
  return ort::ValueHandle(raw);
}

void Session::Bind(const RunRequest& request) {
  const auto& api = ort::GetApi();
  api.ClearBoundInputs(binding_.get());
  api.ClearBoundOutputs(binding_.get());
  for (size_t index = 0; index < inputs_.size(); index++) {
    ort::Check(api.BindInput(binding_.get(), inputs_[index].c_str(), ValueOf(request.inputs[index]).get()));
  }
  for (size_t index = 0; index < outputs_.size(); index++) {
    const TensorView& view = request.outputs[index];
    if (view.memory == nullptr) continue;
    ort::Check(api.BindOutput(binding_.get(), outputs_[index].c_str(), ValueOf(view).get()));
  }
}

void Session::Run(RunRequest& request) {
  if (device_.type == Device::Type::kCpu) {
    Bind(request);
    ort::Check(ort::GetApi().RunWithBinding(session_.get(), request.terminator.options(), binding_.get()));
    return;
  }
  // A number of its own for each recording; without one, onnxruntime would record this run and replay it for all.
  if (recordings_enabled_) request.terminator.Configure("gpu_graph_id", std::to_string(request.recording));
  if (request.recording == NOT_RECORDED) {
    StagedRun run(*this, request, staging_->Take());
    run.Perform(request);
    staging_->Put(run.TakeStaging());
    return;
  }
  // Kept when it fails: onnxruntime's recording keeps these addresses.
  std::unique_ptr<StagedRun>& run = recordings_[request.recording];
  if (run == nullptr) run = std::make_unique<StagedRun>(*this, request, nullptr);
  run->Perform(request);
}

#include "session-options.h"

#include <iterator>

namespace {

void AppendCuda(OrtSessionOptions* options, const SessionConfig& config) {
  const auto& api = ort::GetApi();
  OrtCudaOptions* raw = nullptr;
  ort::Check(api.CreateCUDAProviderOptions(&raw));
  const ort::CudaOptionsHandle cuda(raw);
  const std::string device = std::to_string(config.device.index);
  const std::string limit = std::to_string(config.device_memory_limit);
  const char* const keys[] = {
      "device_id",
      "arena_extend_strategy",             // grow by what is asked: the other way doubles, and the KV cache wants the rest
      "cudnn_conv_algo_search",            // EXHAUSTIVE would benchmark again for every new clip length
      "use_tf32",                          // fp32 means fp32
      "enable_skip_layer_norm_strict_mode",  // sums in fp32, as the reference does
      "gpu_mem_limit",
  };
  const char* const values[] = {device.c_str(), "kSameAsRequested", "HEURISTIC", "0", "1", limit.c_str()};
  const size_t count = std::size(keys) - (config.device_memory_limit == 0 ? 1 : 0);
  ort::Check(api.UpdateCUDAProviderOptions(cuda.get(), keys, values, count));
  ort::Check(api.SessionOptionsAppendExecutionProvider_CUDA_V2(options, cuda.get()));
}

}  // namespace

ort::SessionOptionsHandle MakeSessionOptions(const SessionConfig& config) {
  const auto& api = ort::GetApi();
  OrtSessionOptions* raw = nullptr;
  ort::Check(api.CreateSessionOptions(&raw));
  ort::SessionOptionsHandle options(raw);
  ort::Check(api.SetSessionLogSeverityLevel(raw, config.log_severity));
  ort::Check(api.SetSessionGraphOptimizationLevel(raw, ort::ALL_OPTIMISATIONS));
  if (config.threads > 0) ort::Check(api.SetIntraOpNumThreads(raw, config.threads));
  ort::Check(api.AddSessionConfigEntry(raw, "session.intra_op.allow_spinning", config.spinning ? "1" : "0"));
  ort::Check(api.AddSessionConfigEntry(raw, "session.disable_prepacking", config.disable_prepacking ? "1" : "0"));
  // Weights stay in the checkpoint; onnxruntime refuses absolute paths and links that leave the folder, so the folder is "/".
  ort::Check(api.AddSessionConfigEntry(raw, "session.model_external_initializers_file_folder_path", "/"));
  if (config.device.type == Device::Type::kCuda) AppendCuda(raw, config);
  return options;
}

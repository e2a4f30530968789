// What our kernels for onnxruntime's operators share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <vector>

#include "ort-library.h"

/** onnxruntime asks the kernels of an added domain first, also where the domain is one of its own. */
constexpr char OWN_KERNELS_DOMAIN[] = "com.microsoft";

using Dims = std::vector<int64_t>;

inline Dims DimsOf(const OrtValue* value) {
  const auto& api = ort::GetApi();
  OrtTensorShape* raw = nullptr;
  ort::Check(api.GetTensorTypeAndShape(value, &raw));
  const ort::TensorShapeHandle shape(raw);
  size_t rank = 0;
  ort::Check(api.GetDimensionsCount(raw, &rank));
  Dims dims(rank);
  ort::Check(api.GetDimensions(raw, dims.data(), rank));
  return dims;
}

template <typename Element>
Element* DataOf(const OrtValue* value) {
  void* data = nullptr;
  ort::Check(ort::GetApi().GetTensorMutableData(const_cast<OrtValue*>(value), &data));
  return static_cast<Element*>(data);
}

/** Runs `work`; what it throws becomes a status. */
template <typename Work>
OrtStatus* StatusOf(const Work& work) noexcept {
  try {
    work();
    return nullptr;
  } catch (const std::exception& error) {
    return ort::GetApi().CreateStatus(ort::CODE_FAIL, error.what());
  }
}

/**
 * The description of an operator on the CPU, but for its name, inputs and outputs. Kernel(info) makes a kernel, which
 * Compute(context) runs; both may throw std::exception.
 */
template <typename Kernel>
OrtCustomOp DescribeOp() {
  OrtCustomOp op{};
  op.version = ort::API_VERSION;
  op.GetExecutionProviderType = [](const OrtCustomOp*) -> const char* { return nullptr; };
  op.GetInputCharacteristic = [](const OrtCustomOp*, size_t) { return 0; };
  op.GetOutputCharacteristic = [](const OrtCustomOp*, size_t) { return 0; };
  op.GetInputMemoryType = [](const OrtCustomOp*, size_t) { return 0; };
  op.CreateKernelV2 = [](const OrtCustomOp*, const void*, const OrtKernelInfo* info, void** kernel) {
    return StatusOf([&] { *kernel = new Kernel(info); });
  };
  op.KernelComputeV2 = [](void* kernel, OrtKernelContext* context) {
    return StatusOf([&] { static_cast<Kernel*>(kernel)->Compute(context); });
  };
  op.KernelDestroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
  op.GetStartVersion = [](const OrtCustomOp*) { return 1; };
  op.GetEndVersion = [](const OrtCustomOp*) { return 1; };
  return op;
}

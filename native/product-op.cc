#include "product-op.h"

#include <stdexcept>

#include "custom-op.h"
#include "product.h"

namespace {

enum Input : size_t { kInput, kPacked, kScales, kZeroPoints, kGroups, kBias, kInputs };

class ProductKernel {
 public:
  explicit ProductKernel(const OrtKernelInfo* info);
  void Compute(OrtKernelContext* context) const;

 private:
  int64_t n_ = 0;
  int64_t k_ = 0;
  int64_t bits_ = 0;
};

ProductKernel::ProductKernel(const OrtKernelInfo* info) {
  const auto& api = ort::GetApi();
  int64_t block = 0;
  ort::Check(api.KernelInfoGetAttribute_int64(info, "N", &n_));
  ort::Check(api.KernelInfoGetAttribute_int64(info, "K", &k_));
  ort::Check(api.KernelInfoGetAttribute_int64(info, "bits", &bits_));
  ort::Check(api.KernelInfoGetAttribute_int64(info, "block_size", &block));
  if (!avocado::CanMultiply(bits_, block)) throw std::runtime_error("Quantised weights of another layout.");
}

void ProductKernel::Compute(OrtKernelContext* context) const {
  const auto& api = ort::GetApi();
  const OrtValue* inputs[kInputs] = {};
  for (size_t index = 0; index < kInputs; index++) {
    ort::Check(api.KernelContext_GetInput(context, index, &inputs[index]));
  }
  if (inputs[kZeroPoints] != nullptr || inputs[kGroups] != nullptr) {
    throw std::runtime_error("Quantised weights that are not symmetric. This is a bug.");
  }
  Dims dims = DimsOf(inputs[kInput]);  // [..., k]
  if (dims.empty() || dims.back() != k_) throw std::runtime_error("An input of another size. This is a bug.");
  avocado::ProductJob job{};
  job.rows = 1;
  for (size_t axis = 0; axis + 1 < dims.size(); axis++) job.rows *= dims[axis];
  dims.back() = n_;
  OrtValue* output = nullptr;
  ort::Check(api.KernelContext_GetOutput(context, 0, dims.data(), dims.size(), &output));
  if (job.rows == 0) return;
  job.input = DataOf<float>(inputs[kInput]);
  job.packed = DataOf<uint8_t>(inputs[kPacked]);
  job.scales = DataOf<float>(inputs[kScales]);
  job.bias = inputs[kBias] == nullptr ? nullptr : DataOf<float>(inputs[kBias]);
  job.output = DataOf<float>(output);
  job.n = n_;
  job.k = k_;
  job.bits = bits_;
  avocado::Product product(job);
  const auto round = [](void* data, size_t task) { static_cast<avocado::Product*>(data)->Round(task); };
  const auto multiply = [](void* data, size_t task) { static_cast<avocado::Product*>(data)->Multiply(task); };
  if (job.rows == 1) {
    product.Round(0);
  } else {
    ort::Check(api.KernelContext_ParallelFor(context, round, product.round_tasks(), 0, &product));
  }
  ort::Check(api.KernelContext_ParallelFor(context, multiply, product.tasks(), 0, &product));
}

OrtCustomOp DescribeKernel() {
  OrtCustomOp op = DescribeOp<ProductKernel>();
  op.GetName = [](const OrtCustomOp*) { return "MatMulNBits"; };
  op.GetInputType = [](const OrtCustomOp*, size_t index) {
    if (index == kPacked || index == kZeroPoints) return ort::UINT8;
    return index == kGroups ? ort::INT32 : ort::FLOAT;
  };
  op.GetInputTypeCount = [](const OrtCustomOp*) -> size_t { return kInputs; };
  op.GetOutputType = [](const OrtCustomOp*, size_t) { return ort::FLOAT; };
  op.GetOutputTypeCount = [](const OrtCustomOp*) -> size_t { return 1; };
  op.GetInputCharacteristic = [](const OrtCustomOp*, size_t index) { return index >= kZeroPoints ? ort::OPTIONAL : 0; };
  return op;
}

}  // namespace

const OrtCustomOp* ProductOp() {
  static const OrtCustomOp op = DescribeKernel();
  return avocado::CanMultiply(4, avocado::kProductBlock) ? &op : nullptr;
}

#include "attention-op.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <vector>

#include "attention.h"
#include "custom-op.h"

namespace {

constexpr char kName[] = "GroupQueryAttention";

/** The inputs that our decoder gives. A graph with others does not load with this kernel. */
enum Input : size_t { kQuery, kKey, kValue, kPastKey, kPastValue, kLast, kTotal, kInputs };
enum Output : size_t { kAttended, kPresentKey, kPresentValue, kOutputs };

using Inputs = std::array<const OrtValue*, kInputs>;
using Outputs = std::array<OrtValue*, kOutputs>;
class AttentionKernel {
 public:
  explicit AttentionKernel(const OrtKernelInfo* info);
  void Compute(OrtKernelContext* context) const;

 private:
  void Decode(OrtKernelContext* context, const Inputs& inputs, const Outputs& outputs, const Dims& cache) const;

  int64_t heads_ = 0;
  int64_t kv_heads_ = 0;
  float scale_ = 0;
  ort::OpHandle builtin_;
};

AttentionKernel::AttentionKernel(const OrtKernelInfo* info) {
  const auto& api = ort::GetApi();
  ort::Check(api.KernelInfoGetAttribute_int64(info, "num_heads", &heads_));
  ort::Check(api.KernelInfoGetAttribute_int64(info, "kv_num_heads", &kv_heads_));
  ort::Check(api.KernelInfoGetAttribute_float(info, "scale", &scale_));
  std::vector<ort::OpAttributeHandle> held;
  const auto add = [&](const char* name, const void* data, int type) {
    OrtOpAttr* raw = nullptr;
    ort::Check(api.CreateOpAttr(name, data, 1, type, &raw));
    held.emplace_back(raw);
  };
  add("num_heads", &heads_, ort::ATTRIBUTE_INT);
  add("kv_num_heads", &kv_heads_, ort::ATTRIBUTE_INT);
  add("scale", &scale_, ort::ATTRIBUTE_FLOAT);
  std::vector<const OrtOpAttr*> attributes;
  for (const auto& attribute : held) attributes.push_back(attribute.get());
  const char* types[] = {"T", "T_CACHE", "M"};
  const int values[] = {ort::FLOAT, ort::FLOAT, ort::INT32};
  OrtOp* raw = nullptr;
  ort::Check(api.CreateOp(info, kName, OWN_KERNELS_DOMAIN, 1, types, values, 3, attributes.data(),
                          static_cast<int>(attributes.size()), kInputs, kOutputs, &raw));
  builtin_.reset(raw);
}

/** Writes the new tokens' keys or values into the cache. */
void Append(const float* from, const Dims& cache, const int32_t* last, float* to) {
  const int64_t batch = cache[0], kv_heads = cache[1], capacity = cache[2], size = cache[3];
  for (int64_t row = 0; row < batch; row++) {
    for (int64_t head = 0; head < kv_heads; head++) {
      const int64_t at = row * kv_heads + head;
      std::copy_n(from + at * size, size, to + (at * capacity + last[row]) * size);
    }
  }
}

void AttentionKernel::Compute(OrtKernelContext* context) const {
  const auto& api = ort::GetApi();
  Inputs inputs{};
  for (size_t index = 0; index < kInputs; index++) {
    ort::Check(api.KernelContext_GetInput(context, index, &inputs[index]));
  }
  const Dims query = DimsOf(inputs[kQuery]);    // [batch, tokens, heads * head_size]
  const Dims cache = DimsOf(inputs[kPastKey]);  // [batch, kv_heads, capacity, head_size]
  const Dims* const shapes[kOutputs] = {&query, &cache, &cache};
  Outputs outputs{};
  for (size_t index = 0; index < kOutputs; index++) {
    const Dims& shape = *shapes[index];
    ort::Check(api.KernelContext_GetOutput(context, index, shape.data(), shape.size(), &outputs[index]));
  }
  const bool in_place = DataOf<float>(inputs[kPastKey]) == DataOf<float>(outputs[kPresentKey]) &&
                        DataOf<float>(inputs[kPastValue]) == DataOf<float>(outputs[kPresentValue]);
  if (query[1] == 1 && in_place && avocado::CanAttend(heads_, kv_heads_, static_cast<int32_t>(cache[3]))) {
    Decode(context, inputs, outputs, cache);
  } else {
    ort::Check(api.InvokeOp(context, builtin_.get(), inputs.data(), kInputs, outputs.data(), kOutputs));
  }
}

void AttentionKernel::Decode(OrtKernelContext* context, const Inputs& inputs, const Outputs& outputs,
                             const Dims& cache) const {
  const auto* last = DataOf<int32_t>(inputs[kLast]);
  for (int64_t row = 0; row < cache[0]; row++) {
    if (last[row] < 0 || last[row] >= cache[2]) throw std::out_of_range("A token is outside the KV cache.");
  }
  auto* keys = DataOf<float>(outputs[kPresentKey]);
  auto* values = DataOf<float>(outputs[kPresentValue]);
  Append(DataOf<float>(inputs[kKey]), cache, last, keys);
  Append(DataOf<float>(inputs[kValue]), cache, last, values);
  avocado::AttentionJob job{};
  job.query = DataOf<float>(inputs[kQuery]);
  job.keys = keys;
  job.values = values;
  job.last = last;
  job.output = DataOf<float>(outputs[kAttended]);
  job.batch = static_cast<int32_t>(cache[0]);
  job.heads = static_cast<int32_t>(heads_);
  job.kv_heads = static_cast<int32_t>(kv_heads_);
  job.capacity = static_cast<int32_t>(cache[2]);
  job.head_size = static_cast<int32_t>(cache[3]);
  job.scale = scale_;
  avocado::Attention attention(job);
  const auto run = [](void* data, size_t task) { static_cast<avocado::Attention*>(data)->Run(task); };
  ort::Check(ort::GetApi().KernelContext_ParallelFor(context, run, attention.tasks(), 0, &attention));
  attention.Finish();
}

OrtCustomOp DescribeKernel() {
  OrtCustomOp op = DescribeOp<AttentionKernel>();
  op.GetName = [](const OrtCustomOp*) { return kName; };
  op.GetInputType = [](const OrtCustomOp*, size_t index) {
    return index == kLast || index == kTotal ? ort::INT32 : ort::FLOAT;
  };
  op.GetInputTypeCount = [](const OrtCustomOp*) -> size_t { return kInputs; };
  op.GetOutputType = [](const OrtCustomOp*, size_t) { return ort::FLOAT; };
  op.GetOutputTypeCount = [](const OrtCustomOp*) -> size_t { return kOutputs; };
  return op;
}

}  // namespace

const OrtCustomOp* AttentionOp() {
  static const OrtCustomOp op = DescribeKernel();
  return &op;
}

#include "recording.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace {

// Addresses of tensors on a device are aligned like this.
constexpr size_t kAlignment = 256;

size_t Aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

bool IsStaged(const TensorView& view) { return view.memory != nullptr && view.slab == nullptr; }

bool SameTensor(const TensorView& a, const TensorView& b) {
  return a.type == b.type && a.dims == b.dims && a.slab == b.slab && (a.memory == nullptr) == (b.memory == nullptr) &&
         (a.slab == nullptr || a.memory == b.memory);
}

}  // namespace

Recording::Recording(const Session& session, const RunRequest& first)
    : session_(session), inputs_(first.inputs), outputs_(first.outputs), binding_(session.MakeBinding()) {
  const auto& hosts = first.host_inputs;
  const auto stage = [this](const std::vector<TensorView>& views, std::vector<Staged>& staged, const auto& on_host) {
    for (size_t index = 0; index < views.size(); index++) {
      if (!IsStaged(views[index])) continue;
      staged.push_back({index, bytes_, on_host(index)});
      bytes_ += Aligned(views[index].bytes);
    }
  };
  stage(inputs_, staged_inputs_,
        [&hosts](size_t index) { return std::find(hosts.begin(), hosts.end(), index) != hosts.end(); });
  input_bytes_ = bytes_;
  stage(outputs_, staged_outputs_, [](size_t) { return false; });
  staging_ = std::make_unique<CudaStaging>(session.device_.index, std::max(bytes_, kAlignment));

  std::vector<TensorView> inputs = inputs_;
  std::vector<TensorView> outputs = outputs_;
  const auto place = [this](std::vector<TensorView>& views, const std::vector<Staged>& staged) {
    for (const Staged& entry : staged) {
      TensorView& view = views[entry.index];
      view.memory = (entry.on_host ? staging_->host() : staging_->device()) + entry.offset;
      view.device = entry.on_host ? Device{} : session_.device_;
    }
  };
  place(inputs, staged_inputs_);
  place(outputs, staged_outputs_);
  const auto& api = ort::GetApi();
  for (size_t index = 0; index < inputs.size(); index++) {
    ort::Check(api.BindInput(binding_.get(), session.inputs_[index].c_str(), session.ValueOf(inputs[index]).get()));
  }
  for (size_t index = 0; index < outputs.size(); index++) {
    if (outputs[index].memory == nullptr) continue;
    ort::Check(api.BindOutput(binding_.get(), session.outputs_[index].c_str(), session.ValueOf(outputs[index]).get()));
  }
}

void Recording::Expect(const std::vector<TensorView>& views, const std::vector<TensorView>& known) const {
  if (std::equal(views.begin(), views.end(), known.begin(), known.end(), SameTensor)) return;
  throw std::runtime_error("A recorded run was given tensors of other shapes or slabs. This is a bug.");
}

void Recording::Run(const RunRequest& request) {
  Expect(request.inputs, inputs_);
  Expect(request.outputs, outputs_);
  for (const Staged& entry : staged_inputs_) {
    const TensorView& view = request.inputs[entry.index];
    std::memcpy(staging_->host() + entry.offset, view.memory, view.bytes);
  }
  staging_->CopyToDevice(0, input_bytes_);
  ort::Check(
      ort::GetApi().RunWithBinding(session_.session_.get(), request.terminator.options(), binding_.get()));
  staging_->CopyToHost(input_bytes_, bytes_ - input_bytes_);
  for (const Staged& entry : staged_outputs_) {
    const TensorView& view = request.outputs[entry.index];
    std::memcpy(view.memory, staging_->host() + entry.offset, view.bytes);
  }
}

#include "staged-run.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace {

// Kernels read whole vectors; the device's own allocations are aligned like this.
constexpr size_t kAlignment = 256;

// Of a tensor that the driver copies faster from ordinary memory than we would through pinned memory.
constexpr size_t kLarge = size_t{1} << 20;

size_t Aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

bool SameTensor(const TensorView& a, const TensorView& b) {
  return a.type == b.type && a.dims == b.dims && a.slab == b.slab && (a.memory == nullptr) == (b.memory == nullptr) &&
         (a.slab == nullptr || a.memory == b.memory);
}

void Expect(const std::vector<TensorView>& views, const std::vector<TensorView>& known) {
  if (std::equal(views.begin(), views.end(), known.begin(), known.end(), SameTensor)) return;
  throw std::runtime_error("A recorded run was given tensors of other shapes or slabs. This is a bug.");
}

}  // namespace

std::unique_ptr<CudaStaging> StagingPool::Take() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (idle_.empty()) return nullptr;
  std::unique_ptr<CudaStaging> taken = std::move(idle_.back());
  idle_.pop_back();
  return taken;
}

void StagingPool::Put(std::unique_ptr<CudaStaging> staging) {
  const std::lock_guard<std::mutex> lock(mutex_);
  idle_.push_back(std::move(staging));
}

StagedRun::StagedRun(const Session& session, const RunRequest& request, std::unique_ptr<CudaStaging> staging)
    : session_(session),
      in_one_stream_(request.recording != NOT_RECORDED),
      inputs_(request.inputs),
      outputs_(request.outputs),
      staging_(std::move(staging)),
      binding_(session.MakeBinding()) {
  AddPlaces(input_places_, inputs_, false);
  small_input_bytes_ = bytes_;
  AddPlaces(output_places_, outputs_, false);
  small_bytes_ = bytes_;
  AddPlaces(input_places_, inputs_, true);
  AddPlaces(output_places_, outputs_, true);
  for (Place& place : input_places_) {
    const auto& hosts = session.host_inputs_;
    place.on_host = std::find(hosts.begin(), hosts.end(), place.index) != hosts.end();
  }
  if (staging_ == nullptr || staging_->bytes() < bytes_ || staging_->host_bytes() < small_bytes_) {
    staging_.reset();  // first, so that both never exist at once
    const int device = session.device_.index;
    staging_ = std::make_unique<CudaStaging>(device, std::max(bytes_, kAlignment), std::max(small_bytes_, kAlignment),
                                             in_one_stream_ ? session.stream_ : std::make_shared<CudaStream>(device));
  }
  Bind();
}

void StagedRun::AddPlaces(std::vector<Place>& places, const std::vector<TensorView>& views, bool is_large) {
  for (size_t index = 0; index < views.size(); index++) {
    const TensorView& view = views[index];
    if (view.memory == nullptr || view.slab != nullptr || (view.bytes >= kLarge) != is_large) continue;
    places.push_back({index, bytes_, is_large, false});
    bytes_ += Aligned(view.bytes);
  }
}

std::vector<TensorView> StagedRun::Placed(const std::vector<TensorView>& views,
                                          const std::vector<Place>& places) const {
  std::vector<TensorView> placed = views;
  for (const Place& place : places) {
    placed[place.index].memory = (place.on_host ? staging_->host() : staging_->device()) + place.offset;
    placed[place.index].device = place.on_host ? Device{} : session_.device_;
  }
  return placed;
}

void StagedRun::Bind() const {
  const auto& api = ort::GetApi();
  const std::vector<TensorView> inputs = Placed(inputs_, input_places_);
  for (size_t index = 0; index < inputs.size(); index++) {
    const char* name = session_.inputs_[index].c_str();
    ort::Check(api.BindInput(binding_.get(), name, session_.ValueOf(inputs[index]).get()));
  }
  const std::vector<TensorView> outputs = Placed(outputs_, output_places_);
  for (size_t index = 0; index < outputs.size(); index++) {
    if (outputs[index].memory == nullptr) continue;
    const char* name = session_.outputs_[index].c_str();
    ort::Check(api.BindOutput(binding_.get(), name, session_.ValueOf(outputs[index]).get()));
  }
}

void StagedRun::Perform(RunRequest& request) {
  try {
    Upload(request);
    Execute(request);
    Download(request);
  } catch (const std::exception&) {
    if (in_one_stream_) WaitOrLose();
    throw;
  }
}

void StagedRun::WaitOrLose() const noexcept {
  try {
    staging_->Wait();
  } catch (const std::exception&) {
    // What failed before says more. A device that cannot be waited for does nothing more either.
  }
}

void StagedRun::Upload(const RunRequest& request) {
  Expect(request.inputs, inputs_);
  Expect(request.outputs, outputs_);
  for (const Place& place : input_places_) {
    const TensorView& view = request.inputs[place.index];
    if (place.is_large) {
      staging_->CopyToDevice(place.offset, view.memory, view.bytes);
    } else {
      std::memcpy(staging_->host() + place.offset, view.memory, view.bytes);
    }
  }
  staging_->CopyToDevice(0, staging_->host(), small_input_bytes_);
  if (!in_one_stream_) staging_->Wait();
}

void StagedRun::Execute(RunRequest& request) {
  // A run ends when its stream is empty. onnxruntime's SynchronizeBound… would wait for the whole device, so for the
  // runs of all other sessions.
  if (in_one_stream_) request.terminator.Configure("disable_synchronize_execution_providers", "1");
  ort::Check(ort::GetApi().RunWithBinding(session_.session_.get(), request.terminator.options(), binding_.get()));
}

void StagedRun::Download(const RunRequest& request) {
  const size_t small_outputs = small_bytes_ - small_input_bytes_;
  staging_->CopyToHost(small_input_bytes_, staging_->host() + small_input_bytes_, small_outputs);
  for (const Place& place : output_places_) {
    const TensorView& view = request.outputs[place.index];
    if (place.is_large) staging_->CopyToHost(place.offset, view.memory, view.bytes);
  }
  staging_->Wait();
  for (const Place& place : output_places_) {
    const TensorView& view = request.outputs[place.index];
    if (!place.is_large) std::memcpy(view.memory, staging_->host() + place.offset, view.bytes);
  }
}

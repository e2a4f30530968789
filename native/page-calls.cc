#include "page-calls.h"

#include <stdexcept>
#include <utility>
#include <vector>

#include "arguments.h"
#include "slab-calls.h"
#include "slab-worker.h"

namespace {

using Holder = std::shared_ptr<PagePool>;

// A random number.
constexpr napi_type_tag kPoolTag{0x64c1e07d2b9a4f35, 0xb3d85e1f79c06a28};

Holder& HolderOf(Napi::Value handle) { return HeldBy<Holder>(handle, kPoolTag, "page pool"); }

constexpr size_t kNumbersPerRange = 2;

void ReadRanges(const ArrayMemory& array, const Slab& slab, std::vector<SlabPages>& parts) {
  const double* numbers = Elements<double>(array, napi_float64_array, 0, "ranges");
  const size_t page_bytes = slab.pool()->page_bytes();
  for (size_t index = 0; index + kNumbersPerRange <= array.length; index += kNumbersPerRange) {
    const size_t from = WholeNumber(numbers[index], "from");
    const size_t bytes = WholeNumber(numbers[index + 1], "bytes");
    if (bytes > slab.bytes() || from > slab.bytes() - bytes) {
      throw std::runtime_error("A range reaches past its slab. This is a bug.");
    }
    if (from % page_bytes != 0 || bytes % page_bytes != 0) {
      throw std::runtime_error("A range is not of whole pages. This is a bug.");
    }
    parts.push_back({slab.table(), from / page_bytes, bytes / page_bytes});
  }
}

void ChangePages(const Napi::CallbackInfo& info, void (PagePool::*change)(const std::vector<SlabPages>&)) {
  std::vector<std::shared_ptr<Slab>> slabs = SlabsOf(info[0]);
  const ArrayMemory numbers = MemoryOf(info[1], "ranges");
  const std::shared_ptr<PagePool> pool = slabs.front()->pool();
  std::vector<SlabPages> parts;
  for (const std::shared_ptr<Slab>& slab : slabs) {
    if (slab->pool() == nullptr) throw std::runtime_error("A slab has no page pool. This is a bug.");
    if (slab->pool() != pool) throw std::runtime_error("The slabs are of several page pools. This is a bug.");
    ReadRanges(numbers, *slab, parts);
  }
  SlabWorker::Start(FunctionOf(info[2], "done"), [slabs = std::move(slabs), parts = std::move(parts), pool, change] {
    (pool.get()->*change)(parts);
  });
}

}  // namespace

std::shared_ptr<PagePool> PoolOf(Napi::Value handle) {
  const Holder& holder = HolderOf(handle);
  if (holder == nullptr) throw std::runtime_error("The page pool was released already. This is a bug.");
  return holder;
}

Napi::Value CreatePagePool(const Napi::CallbackInfo& info) {
  const Device device = ReadDevice(info[0].As<Napi::Object>());
  const size_t bytes = WholeNumber(info[1].As<Napi::Number>().DoubleValue(), "bytes");
  return MakeHandle(info.Env(), std::make_unique<Holder>(std::make_shared<PagePool>(device, bytes)), kPoolTag);
}

Napi::Value PagePoolSize(const Napi::CallbackInfo& info) {
  const std::shared_ptr<PagePool> pool = PoolOf(info[0]);
  const auto size = Napi::Array::New(info.Env(), 2);
  size.Set(0U, Napi::Number::New(info.Env(), static_cast<double>(pool->page_bytes())));
  size.Set(1U, Napi::Number::New(info.Env(), static_cast<double>(pool->pages())));
  return size;
}

void ReleasePagePool(const Napi::CallbackInfo& info) { HolderOf(info[0]).reset(); }

void CommitSlabs(const Napi::CallbackInfo& info) { ChangePages(info, &PagePool::Commit); }

void DecommitSlabs(const Napi::CallbackInfo& info) { ChangePages(info, &PagePool::Decommit); }

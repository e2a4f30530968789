#include "page-pool.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "cuda-pages.h"
#include "host-memory.h"

namespace {

constexpr uint32_t kNoPage = UINT32_MAX;
/** Wanted by a call that is at work. */
constexpr uint32_t kClaimed = kNoPage - 1;

// A multiple of the page sizes of all kernels.
constexpr size_t kCpuPageBytes = 65536;

/** Memory of this process: the kernel gives pages when they are touched, so that the pool only counts. */
class CpuPages : public PageSource {
 public:
  explicit CpuPages(size_t bytes) : PageSource(kCpuPageBytes, bytes) {}

  std::byte* Reserve(size_t pages) override { return MapZeroed(pages * page_bytes()); }
  void Free(std::byte* memory, size_t pages) noexcept override { UnmapZeroed(memory, pages * page_bytes()); }
  // They may hold what was written there without a commit.
  void Give(const std::vector<PageRun>& runs) override {
    for (const PageRun& run : runs) Take(run);
  }
  void Take(const PageRun& run) override { DiscardPages(run.start, run.pages * page_bytes()); }
};

std::unique_ptr<PageSource> SourceOf(Device device, size_t bytes) {
  if (device.type == Device::Type::kCuda) return std::make_unique<CudaPages>(device.index, bytes);
  return std::make_unique<CpuPages>(bytes);
}

}  // namespace

PagePool::PagePool(Device device, size_t bytes) : device_(device), source_(SourceOf(device, bytes)) {
  if (pages() >= kClaimed) throw std::runtime_error("The pool has too many pages. This is a bug.");
}

std::unique_ptr<PageTable> PagePool::Reserve(size_t bytes) {
  auto table = std::make_unique<PageTable>();
  const size_t pages = bytes / page_bytes();
  table->memory = source_->Reserve(pages);
  try {
    table->numbers.assign(pages, kNoPage);
  } catch (...) {
    source_->Free(table->memory, pages);
    throw;
  }
  return table;
}

void PagePool::Free(PageTable& table) noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto is_of_table = [&](const SlabPages& run) { return run.table == &table; };
  not_taken_.erase(std::remove_if(not_taken_.begin(), not_taken_.end(), is_of_table), not_taken_.end());
  source_->Free(table.memory, table.numbers.size());
  Return({&table, 0, table.numbers.size()});
}

void PagePool::Commit(const std::vector<SlabPages>& parts) {
  const std::lock_guard<std::mutex> lock(mutex_);
  // These pages would look as if they had their memory.
  for (; !not_taken_.empty(); not_taken_.pop_back()) TakeAndReturn(not_taken_.back());
  std::vector<SlabPages> runs;
  try {
    Claim(parts, runs);
    Number(runs);
    std::vector<PageRun> described;
    for (const SlabPages& run : runs) described.push_back(Described(run));
    source_->Give(described);
  } catch (...) {
    for (const SlabPages& run : runs) Return(run);
    throw;
  }
}

void PagePool::Decommit(const std::vector<SlabPages>& parts) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& [table, first, pages] : parts) {
    for (size_t page = first; page < first + pages; page++) {
      SlabPages run{table, page, 0};
      while (page < first + pages && table->numbers[page] != kNoPage) page++, run.pages++;
      if (run.pages == 0) continue;
      not_taken_.push_back(run);
      TakeAndReturn(run);
      not_taken_.pop_back();
    }
  }
}

// After a failure the pages keep their numbers: another slab must not get what may still be mapped here.
void PagePool::TakeAndReturn(const SlabPages& run) {
  source_->Take(Described(run));
  Return(run);
}

// Appends runs of the pages that have no memory, each page once.
void PagePool::Claim(const std::vector<SlabPages>& parts, std::vector<SlabPages>& runs) {
  for (const auto& [table, first, pages] : parts) {
    for (size_t page = first; page < first + pages; page++) {
      if (table->numbers[page] != kNoPage) continue;
      const bool is_next = !runs.empty() && runs.back().table == table && runs.back().first + runs.back().pages == page;
      if (!is_next) runs.push_back({table, page, 0});
      runs.back().pages++;
      table->numbers[page] = kClaimed;
    }
  }
}

void PagePool::Number(const std::vector<SlabPages>& runs) {
  size_t wanted = 0;
  for (const SlabPages& run : runs) wanted += run.pages;
  const size_t left = pages() - unused_from_ + returned_.size();
  if (wanted > left) {
    throw std::runtime_error("Pages wanted: " + std::to_string(wanted) + ", free: " + std::to_string(left) + " of " +
                             std::to_string(pages()) + ".");
  }
  for (const auto& [table, first, pages] : runs) {
    for (size_t page = first; page < first + pages; page++) {
      if (returned_.empty()) {
        table->numbers[page] = unused_from_++;
      } else {
        table->numbers[page] = returned_.back();
        returned_.pop_back();
      }
    }
  }
}

void PagePool::Return(const SlabPages& run) {
  const auto& [table, first, pages] = run;
  for (size_t page = first; page < first + pages; page++) {
    uint32_t& number = table->numbers[page];
    if (number < kClaimed) returned_.push_back(number);
    number = kNoPage;
  }
}

PageRun PagePool::Described(const SlabPages& run) const {
  const auto& [table, first, pages] = run;
  return {table->memory + first * page_bytes(), pages, table->numbers.data() + first};
}

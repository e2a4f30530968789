// Paged memory. A pool has pages of one size; its slabs only reserve addresses, and a page of a slab has memory of its
// own only between Commit and Decommit. So memory goes to where it is used, while each slab stays one piece.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "device.h"

/** Pages of a slab that follow each other, and the numbers of the pool's pages that are their memory. */
struct PageRun {
  std::byte* start;
  size_t pages;
  const uint32_t* numbers;
};

/** What a device does for a pool. Its pages have the numbers 0 to pages() - 1. */
class PageSource {
 public:
  virtual ~PageSource() = default;
  PageSource(const PageSource&) = delete;
  PageSource& operator=(const PageSource&) = delete;

  size_t page_bytes() const { return page_bytes_; }
  size_t pages() const { return pages_; }

  /**
   * Addresses for so many pages without memory of their own. Reads and writes there are harmless. Throws
   * std::runtime_error.
   */
  virtual std::byte* Reserve(size_t pages) = 0;
  /** Gives addresses from Reserve back. */
  virtual void Free(std::byte* memory, size_t pages) noexcept = 0;
  /** Gives zeroed memory to pages without any. Throws std::runtime_error; then they are as they were. */
  virtual void Give(const std::vector<PageRun>& runs) = 0;
  /** Takes it away again. Throws std::runtime_error. */
  virtual void Take(const PageRun& run) = 0;

 protected:
  PageSource(size_t page_bytes, size_t bytes) : page_bytes_(page_bytes), pages_(bytes / page_bytes) {}

 private:
  size_t page_bytes_;
  size_t pages_;
};

/** The addresses of one slab and which of its pages have memory. Only its pool looks inside. */
struct PageTable {
  std::byte* memory = nullptr;
  /** for each page the number of the pool's page that is its memory, or kNoPage */
  std::vector<uint32_t> numbers;
};

/** Pages of one slab that follow each other. */
struct SlabPages {
  PageTable* table;
  size_t first;
  size_t pages;
};

/** All functions may be called by several threads. */
class PagePool {
 public:
  /** Pages of so many bytes together, but never more. Throws std::runtime_error when the device lacks the memory. */
  PagePool(Device device, size_t bytes);

  Device device() const { return device_; }
  size_t page_bytes() const { return source_->page_bytes(); }
  size_t pages() const { return source_->pages(); }

  /** Addresses of `bytes`, a multiple of the page size, without memory. Throws std::runtime_error. */
  std::unique_ptr<PageTable> Reserve(size_t bytes);
  /** Gives the addresses back, and the pages that are committed. */
  void Free(PageTable& table) noexcept;
  /**
   * Gives zeroed memory to those of the pages that have none. Throws std::runtime_error when the pool has too few
   * pages left or the device fails; then nothing has changed. No run may use the pages meanwhile.
   */
  void Commit(const std::vector<SlabPages>& parts);
  /**
   * Takes the memory of those pages that have some. Throws std::runtime_error when the device fails; then the next
   * Commit, of whatever pages, first takes what is left.
   */
  void Decommit(const std::vector<SlabPages>& parts);

 private:
  void Claim(const std::vector<SlabPages>& parts, std::vector<SlabPages>& runs);
  void Number(const std::vector<SlabPages>& runs);
  void TakeAndReturn(const SlabPages& run);
  void Return(const SlabPages& run);
  PageRun Described(const SlabPages& run) const;

  Device device_;
  std::unique_ptr<PageSource> source_;
  /** guards what follows, and the tables; held while the device works, so that two calls never meet in one slab */
  std::mutex mutex_;
  /** pages from this number on were never used */
  uint32_t unused_from_ = 0;
  std::vector<uint32_t> returned_;
  /** what the device failed to take */
  std::vector<SlabPages> not_taken_;
};

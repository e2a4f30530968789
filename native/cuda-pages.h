// Paged memory on a CUDA device, by the virtual memory functions of CUDA's driver: physical pages are created once, and
// mapped to the addresses of slabs and away from them.
#pragma once

#include <cstdint>
#include <vector>

#include "page-pool.h"

/**
 * Pages of a CUDA device. Creates all of them at once, so that a lack of memory shows when a model is loaded. One more,
 * the scratch page, is mapped wherever a slab has no memory: kernels read past the rows that they use, and write rows
 * that nobody reads.
 */
class CudaPages : public PageSource {
 public:
  /** Throws std::runtime_error without the driver's library or without enough memory. */
  CudaPages(int device, size_t bytes);
  ~CudaPages() override;

  std::byte* Reserve(size_t pages) override;
  void Free(std::byte* memory, size_t pages) noexcept override;
  void Give(const std::vector<PageRun>& runs) override;
  void Take(const PageRun& run) override;

 private:
  void GiveRun(const PageRun& run) const;
  void UnmapAll(std::byte* start, size_t pages) const;
  int MapScratch(std::byte* start, size_t pages) const;
  int ToScratch(std::byte* start, size_t pages) const;
  int Allow(std::byte* start, size_t pages) const;
  void Release() noexcept;

  int device_;
  /** of the pages, and of the scratch page at the end */
  std::vector<uint64_t> handles_;
};

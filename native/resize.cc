// A horizontal pass over a few source rows at once (lanes: rows x RGB and one unused), then a vertical pass over a ring
// of finished rows. So a frame needs only one small buffer, and every instruction fills a whole register.
//
// torch 2.x sums in a special order: the first product, then groups of four taps with separate multiplication and
// addition, then the rest with fused multiply-add. We use the same order to get the same bits.
#include "resize.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__clang__)
#pragma clang fp contract(fast)
#else
#pragma GCC diagnostic ignored "-Wpsabi"
// gcc 12 warns about its own headers, where intrinsics start from an undefined register.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#if defined(__x86_64__)
#define KEEP_APART(vector) asm("" : "+v"(vector))
#elif defined(__aarch64__)
#define KEEP_APART(vector) asm("" : "+w"(vector))
#else
#define KEEP_APART(vector) asm("" : "+m"(vector))
#endif

#define INLINE inline __attribute__((always_inline))

namespace avocado {
namespace {

struct Scratch {
  float* line;         // [source_width, rows at once, 4]
  float* ring;         // [ring_rows, row_floats]
  const float** taps;  // ring rows of one output row
  int32_t ring_rows;
  int32_t row_floats;
};

}  // namespace
}  // namespace avocado

#if defined(__x86_64__) && !defined(__clang__)
#define HAS_WIDE_KERNELS
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define KERNEL avx2
#define KERNEL_BYTES 32
#define KERNEL_FUSED 1
#include "resize-kernel.h"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq")
#define KERNEL avx512
#define KERNEL_BYTES 64
#define KERNEL_FUSED 1
#include "resize-kernel.h"
#pragma GCC pop_options
#endif

#define KERNEL portable
#define KERNEL_BYTES 16
#if defined(__aarch64__)
#define KERNEL_FUSED 1
#else
#define KERNEL_FUSED 0
#endif
#include "resize-kernel.h"

namespace avocado {
namespace {

struct Kernel {
  void (*resize)(const ResizeJob&, const Scratch&);
  int32_t lanes;
};

Kernel Choose() {
#if defined(HAS_WIDE_KERNELS)
  const bool fused = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool wide = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                    __builtin_cpu_supports("avx512dq");
  if (fused && wide) return {avx512::Resize, avx512::kLanes};
  if (fused) return {avx2::Resize, avx2::kLanes};
#endif
  return {portable::Resize, portable::kLanes};
}

}  // namespace

void ResizeRgb(const ResizeJob& job) {
  static const Kernel kernel = Choose();
  const int32_t rows_at_once = kernel.lanes / 4;
  const int32_t most_rows = *std::max_element(job.rows.count, job.rows.count + job.target_height);
  Scratch scratch{};
  scratch.ring_rows = (most_rows / rows_at_once + 3) * rows_at_once;
  scratch.row_floats = job.target_width * 3 + 2 * kernel.lanes;
  std::vector<float> line(static_cast<size_t>(job.source_width) * static_cast<size_t>(kernel.lanes));
  std::vector<float> ring(static_cast<size_t>(scratch.ring_rows) * static_cast<size_t>(scratch.row_floats));
  std::vector<const float*> taps(static_cast<size_t>(most_rows));
  scratch.line = line.data();
  scratch.ring = ring.data();
  scratch.taps = taps.data();
  kernel.resize(job, scratch);
}

}  // namespace avocado

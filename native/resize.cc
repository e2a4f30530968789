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

#include "instruction-sets.h"

#if defined(__x86_64__)
#define KEEP_APART(vector) asm("" : "+v"(vector))
#elif defined(__aarch64__)
#define KEEP_APART(vector) asm("" : "+w"(vector))
#else
#define KEEP_APART(vector) asm("" : "+m"(vector))
#endif

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

#define KERNEL_FILE "resize-kernel.h"
#include "each-instruction-set.h"

namespace avocado {
namespace {

struct Kernel {
  void (*resize)(const ResizeJob&, const Scratch&);
  int32_t lanes;
};

Kernel Choose() {
#if defined(HAS_WIDE_KERNELS)
  if (HasAvx512()) return {avx512::Resize, avx512::kLanes};
  if (HasAvx2()) return {avx2::Resize, avx2::kLanes};
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

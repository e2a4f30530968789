#include "attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "instruction-sets.h"

namespace avocado {
namespace {

/** Tokens whose scores are held at once. Their keys and values stay in a core's first cache. */
constexpr int32_t kBlock = 32;

/** Floats of a cache line. */
constexpr int32_t kLine = 16;

/** Tokens of a task: a long sequence is shared by many threads, a short one is not cut. */
constexpr int32_t kRange = 1024;

/** Most query heads that share a key head. */
constexpr int32_t kMostGroup = 16;

template <int Number>
using Count = std::integral_constant<int, Number>;

/** The query heads of one key head over one range of tokens. */
struct RangeJob {
  const float* query;   // [heads, head_size]
  const float* keys;    // [tokens, head_size]
  const float* values;  // [tokens, head_size]
  int32_t heads;
  int32_t tokens;
  int32_t head_size;
  float scale;
  float* sums;     // [heads, head_size], zero
  float* largest;  // [heads], -inf
  float* totals;   // [heads], zero
};

}  // namespace
}  // namespace avocado

#define KERNEL_FILE "attention-kernel.h"
#include "each-instruction-set.h"

namespace avocado {
namespace {

using AttendFunction = void (*)(const RangeJob&);

AttendFunction Choose([[maybe_unused]] int32_t head_size) {
#if defined(HAS_WIDE_KERNELS)
  if (HasAvx512() && head_size % avx512::kLanes == 0) return avx512::Attend;
  if (HasAvx2() && head_size % avx2::kLanes == 0) return avx2::Attend;
#endif
  return portable::Attend;
}

}  // namespace

bool CanAttend(int32_t heads, int32_t kv_heads, int32_t head_size) {
  return kv_heads > 0 && heads % kv_heads == 0 && heads / kv_heads <= kMostGroup && head_size % portable::kLanes == 0;
}

Attention::Attention(const AttentionJob& job) : job_(job), group_(job.heads / job.kv_heads) {
  for (int32_t row = 0; row < job.batch; row++) {
    for (int32_t kv_head = 0; kv_head < job.kv_heads; kv_head++) {
      for (int32_t first = 0; first <= job.last[row]; first += kRange) tasks_.push_back({row, kv_head, first});
    }
  }
  partial_.resize(tasks_.size() * static_cast<size_t>(group_ * (job.head_size + 2)));
}

void Attention::Run(size_t index) {
  const Task& task = tasks_[index];
  const int32_t size = job_.head_size;
  const size_t cache_head = static_cast<size_t>(task.row) * job_.kv_heads + task.kv_head;
  const size_t start = (cache_head * job_.capacity + task.first_token) * size;
  RangeJob range{};
  range.query = job_.query + cache_head * group_ * size;
  range.keys = job_.keys + start;
  range.values = job_.values + start;
  range.heads = group_;
  range.tokens = std::min(kRange, job_.last[task.row] + 1 - task.first_token);
  range.head_size = size;
  range.scale = job_.scale;
  range.sums = partial_.data() + index * group_ * (size + 2);
  range.largest = range.sums + group_ * size;
  range.totals = range.largest + group_;
  std::fill_n(range.largest, group_, -INFINITY);
  Choose(size)(range);
}

void Attention::Finish() const {
  size_t task = 0;
  while (task < tasks_.size()) {
    const Task& first = tasks_[task];
    const size_t ranges = static_cast<size_t>(job_.last[first.row] / kRange + 1);
    const size_t head = (static_cast<size_t>(first.row) * job_.kv_heads + first.kv_head) * group_;
    for (int32_t member = 0; member < group_; member++) {
      Merge(task, ranges, member, job_.output + (head + member) * job_.head_size);
    }
    task += ranges;
  }
}

void Attention::Merge(size_t first_task, size_t ranges, int32_t member, float* output) const {
  const int32_t size = job_.head_size;
  const size_t stride = static_cast<size_t>(group_) * (size + 2);
  const float* partial = partial_.data() + first_task * stride;
  const auto largest_of = [&](size_t range) { return partial[range * stride + group_ * size + member]; };
  float largest = largest_of(0);
  for (size_t range = 1; range < ranges; range++) largest = std::max(largest, largest_of(range));
  std::fill_n(output, size, 0.0f);
  float total = 0;
  for (size_t range = 0; range < ranges; range++) {
    const float weight = std::exp(largest_of(range) - largest);
    const float* sums = partial + range * stride + member * size;
    for (int32_t at = 0; at < size; at++) output[at] += weight * sums[at];
    total += weight * partial[range * stride + group_ * (size + 1) + member];
  }
  for (int32_t at = 0; at < size; at++) output[at] /= total;
}

}  // namespace avocado

// Attention of one new token per sequence over its KV cache, in float32: GroupQueryAttention in a decode step.
// onnxruntime's CPU kernel reads the keys and values once for every query head. Here the query heads that share a key
// head are computed together, so they are read once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace avocado {

/** Dense tensors. The new tokens' keys and values are in the cache already. */
struct AttentionJob {
  const float* query;   // [batch, heads, head_size]
  const float* keys;    // [batch, kv_heads, capacity, head_size]
  const float* values;  // as keys
  const int32_t* last;  // [batch] index of the newest token
  float* output;        // as query
  int32_t batch;
  int32_t heads;
  int32_t kv_heads;
  int32_t capacity;
  int32_t head_size;
  float scale;
};

/** Whether Attention computes heads of this size in groups of this many. */
bool CanAttend(int32_t heads, int32_t kv_heads, int32_t head_size);

/**
 * softmax(scale * query * keys^T) * values. The work is cut into tasks by key head and by ranges of tokens. The ranges
 * depend only on a sequence's length, so a sequence gets the same bits in every batch and with every number of threads.
 */
class Attention {
 public:
  explicit Attention(const AttentionJob& job);

  size_t tasks() const { return tasks_.size(); }
  /** Each task once, in any order, on any thread. */
  void Run(size_t index);
  /** After all tasks: puts the ranges of each sequence together. */
  void Finish() const;

 private:
  struct Task {
    int32_t row;
    int32_t kv_head;
    int32_t first_token;
  };

  void Merge(size_t first_task, size_t ranges, int32_t member, float* output) const;

  AttentionJob job_;
  int32_t group_;  // query heads that share a key head
  std::vector<Task> tasks_;
  std::vector<float> partial_;  // of each task [group, head_size] weighted values, [group] largest scores, [group] sums
};

}  // namespace avocado

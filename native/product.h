// Products with quantised weights, as onnxruntime's MatMulNBits computes them on a CPU at accuracy level 4: weights of 4
// or 8 bits in blocks of 128 along K, symmetric around their middle, with a float32 scale each; inputs are rounded to 8
// bits, block by block. Sums of a block are whole numbers, and blocks are added in order, so that a row has the same
// bits alone, among others and with any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace avocado {

constexpr int32_t kProductBlock = 128;

/** Whether this processor and these weights have a kernel (AVX-512 with VNNI). */
bool CanMultiply(int64_t bits, int64_t block);

struct ProductJob {
  /** [rows, k] */
  const float* input;
  /** [n, blocks, 128 * bits / 8]; of 4 bits, the first of two weights is in the low half of a byte */
  const uint8_t* packed;
  /** [n, blocks] */
  const float* scales;
  /** [n] or null */
  const float* bias;
  /** [rows, n] */
  float* output;
  int64_t rows;
  int64_t n;
  int64_t k;
  int64_t bits;
};

/** Inputs, block by block in whole steps of 8 bits. With weights of 4 bits the even ones of a block come first. */
struct RoundedInputs {
  /** of a row */
  int64_t blocks;
  /** blocks from the start of a row to that of the next: what is more than `blocks` repeats the row from its start */
  int64_t pitch;
  /** [rows, pitch, 128] */
  std::vector<int8_t> values;
  /** [rows, blocks] */
  std::vector<float> steps;
  /** [rows, blocks] what the weights' middle adds to the sum of a block, negative */
  std::vector<int32_t> middles;

  const int8_t* block(int64_t row, int64_t block) const {
    return values.data() + (row * pitch + block) * kProductBlock;
  }
};

/** One product. First all tasks of Round, then all of Multiply; the tasks of each may run at the same time. */
class Product {
 public:
  explicit Product(const ProductJob& job);

  size_t round_tasks() const { return static_cast<size_t>(job_.rows); }
  void Round(size_t task);

  size_t tasks() const;
  void Multiply(size_t task) const;

 private:
  bool is_narrow() const;

  const ProductJob job_;
  RoundedInputs rounded_;
};

}  // namespace avocado

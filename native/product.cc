#include "product.h"

#include <algorithm>
#include <cstring>

#include "product-vectors.h"

#if defined(HAS_WIDE_KERNELS)

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")

namespace avocado {

namespace {

/** Of a tile of many rows: two registers of outputs, and rows whose sums fit into the other registers. */
constexpr int64_t kTileLanes = 2 * kLanes;
constexpr int64_t kTileRows = 8;
/** Rows for which weights are unpacked once: their inputs and sums stay in the nearest cache. */
constexpr int64_t kBandRows = 128;
/** Outputs of a task of few rows: each of its two streams is long enough for what its beginning costs. */
constexpr int64_t kTaskLanes = 8 * kLanes;
/** From so many rows on, unpacking weights into tiles pays; of 2 rows it takes twice as long. */
constexpr int64_t kFewestTileRows = 8;
constexpr int64_t kWords = kProductBlock / 4;
/** Of few rows: blocks of one stream that are multiplied at once. */
constexpr int64_t kGroup = 8;
/** How many bytes ahead weights are fetched, of few rows and of tiles. */
constexpr int64_t kStreamAhead = 2048;
constexpr int64_t kTileAhead = 128;

/**
 * Sums of kGroup blocks of either stream, of weights that follow each other in memory, with the same inputs. The first
 * kGroup lanes are those of the first stream.
 */
template <int kBits>
INLINE __m512i MultiplyGroup(const uint8_t* first, const uint8_t* second, const int8_t* rounded) {
  constexpr int64_t kBytes = kProductBlock * kBits / 8;
  __m512i sums[2 * kGroup];
#pragma GCC unroll 8
  for (int64_t block = 0; block < kGroup; block++) {
    __m512i first_inputs = _mm512_loadu_si512(rounded + block * kProductBlock);
    __m512i second_inputs = _mm512_loadu_si512(rounded + block * kProductBlock + 64);
    asm volatile("" : "+v"(first_inputs), "+v"(second_inputs));
    for (int64_t stream = 0; stream < 2; stream++) {
      const uint8_t* at = (stream == 0 ? first : second) + block * kBytes;
      for (int64_t line = 0; line < kBytes; line += 64) Prefetch(at + kStreamAhead + line);
      __m512i first_weights, second_weights;
      Unpack<kBits>(at, first_weights, second_weights);
      sums[stream * kGroup + block] =
          _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(_mm512_setzero_si512(), first_weights, first_inputs), second_weights,
                              second_inputs);
    }
  }
  return SumsOf(sums);
}

/** Outputs of 16 rows of weights from the sums of their blocks, [16, blocks]. */
INLINE __m512 AddBlocks(const int32_t* sums, int64_t blocks, const float* const* scales, const float* steps,
                        const int32_t* middles) {
  __m512 total = _mm512_setzero_ps();
  for (int64_t from = 0; from < blocks; from += 16) {
    __m512i of_scales[16], of_blocks[16];
    LoadScales(scales, from, blocks, of_scales);
    const __mmask16 mask = MaskOf(blocks - from);
    for (int64_t lane = 0; lane < kLanes; lane++) {
      of_blocks[lane] = _mm512_maskz_loadu_epi32(mask, sums + lane * blocks + from);
    }
    Transpose(of_blocks);
    for (int64_t block = from; block < std::min(from + 16, blocks); block++) {
      const __m512i sums_of_block = _mm512_add_epi32(of_blocks[block - from], _mm512_set1_epi32(middles[block]));
      total = Add(total, sums_of_block, of_scales[block - from], steps[block]);
    }
  }
  return total;
}

INLINE void StoreHalf(const ProductJob& job, int64_t row, int64_t first, __m256 total) {
  if (job.bias != nullptr) total = _mm256_add_ps(total, _mm256_loadu_ps(job.bias + first));
  _mm256_storeu_ps(job.output + row * job.n + first, total);
}

/**
 * Few rows of inputs and the outputs from `from` on, 16 for each of `tiles`. Memory is fastest with two long streams:
 * the first half of the weights and the second; a tile has 8 outputs of either. Blocks are taken as they lie, across
 * the ends of rows, and inputs go round with them.
 */
template <int kBits>
void FewRows(const ProductJob& job, const RoundedInputs& rounded, int64_t from, int64_t tiles) {
  constexpr int64_t kBytes = kProductBlock * kBits / 8;
  const int64_t blocks = rounded.blocks;
  constexpr int64_t kHalf = kLanes / 2;
  const int64_t apart = tiles * kHalf;
  std::vector<int32_t> sums(static_cast<size_t>(kLanes * blocks));
  for (int64_t first = from; first < from + apart; first += kHalf) {
    const uint8_t* packed = job.packed + first * blocks * kBytes;
    const uint8_t* other_packed = packed + apart * blocks * kBytes;
    const float* scales[kLanes];
    for (int64_t lane = 0; lane < kLanes; lane++) {
      scales[lane] = job.scales + (first + (lane < kHalf ? lane : apart + lane - kHalf)) * blocks;
    }
    for (int64_t row = 0; row < job.rows; row++) {
      int64_t input = 0;
      for (int64_t group = 0; group < blocks; group++) {
        Prefetch(scales[group % 2 == 0 ? 0 : kHalf] + (blocks + group) * kGroup);  // of the next tile, line by line
        const int64_t at = group * kGroup;
        const __m512i both = MultiplyGroup<kBits>(packed + at * kBytes, other_packed + at * kBytes,
                                                  rounded.block(row, input));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(&sums[at]), _mm512_castsi512_si256(both));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(&sums[kHalf * blocks + at]), _mm512_extracti64x4_epi64(both, 1));
        input += kGroup;
        while (input >= blocks) input -= blocks;
      }
      const __m512 total = AddBlocks(sums.data(), blocks, scales, &rounded.steps[row * blocks],
                                     &rounded.middles[row * blocks]);
      StoreHalf(job, row, first, _mm512_castps512_ps256(total));
      StoreHalf(job, row, first + apart, _mm512_extractf32x8_ps(total, 1));
    }
  }
}

/** A block of 32 outputs, word by word: [32 words, 2 registers] of 16 outputs each. */
template <int kBits>
INLINE void UnpackTile(const uint8_t* const* packed, __m512i* tile) {
  for (int half = 0; half < 2; half++) {
    __m512i firsts[16], seconds[16];
    for (int lane = 0; lane < 16; lane++) {
      const uint8_t* at = packed[half * 16 + lane];
      for (int line = 0; line < kBits / 4; line++) Prefetch(at + kTileAhead + 64 * line);
      Unpack<kBits>(at, firsts[lane], seconds[lane]);
    }
    Transpose(firsts);
    Transpose(seconds);
    for (int word = 0; word < 16; word++) {
      tile[2 * word + half] = firsts[word];
      tile[2 * (16 + word) + half] = seconds[word];
    }
  }
}

/** kRows rows of inputs times a tile, added to their totals. */
template <int kRows>
INLINE void MultiplyTile(const __m512i* tile, const RoundedInputs& rounded, int64_t from, int64_t block,
                         const __m512i* scales, float* totals) {
  const int8_t* inputs_of_block = rounded.block(from, block);
  const float* steps = &rounded.steps[from * rounded.blocks + block];
  const int32_t* middles = &rounded.middles[from * rounded.blocks + block];
  __m512i sums[kRows][2];
#pragma GCC unroll 8
  for (int row = 0; row < kRows; row++) sums[row][0] = sums[row][1] = _mm512_set1_epi32(middles[row * rounded.blocks]);
  for (int word = 0; word < kWords; word++) {
    const __m512i first = tile[2 * word];
    const __m512i second = tile[2 * word + 1];
#pragma GCC unroll 8
    for (int row = 0; row < kRows; row++) {
      int32_t four;
      std::memcpy(&four, inputs_of_block + row * rounded.pitch * kProductBlock + 4 * word, 4);
      const __m512i inputs = _mm512_set1_epi32(four);
      sums[row][0] = PlusProducts(sums[row][0], first, inputs);
      sums[row][1] = PlusProducts(sums[row][1], second, inputs);
    }
  }
#pragma GCC unroll 8
  for (int row = 0; row < kRows; row++) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
      float* at = totals + row * kTileLanes + half * kLanes;
      _mm512_storeu_ps(at, Add(_mm512_loadu_ps(at), sums[row][half], scales[half], steps[row * rounded.blocks]));
    }
  }
}

/** `rows` rows of inputs from `from` on, and the 32 outputs from `first` on. */
template <int kBits>
void ManyRows(const ProductJob& job, const RoundedInputs& rounded, int64_t first, int64_t from, int64_t rows) {
  constexpr int64_t kBytes = kProductBlock * kBits / 8;
  const int64_t blocks = rounded.blocks;
  alignas(64) float totals[kBandRows * kTileLanes] = {};
  alignas(64) __m512i tile[2 * kWords];
  __m512i loaded[2][16];
  const float* scales[kTileLanes];
  const auto output = [&](int64_t lane) { return std::min(first + lane, job.n - 1); };
  for (int64_t lane = 0; lane < kTileLanes; lane++) scales[lane] = job.scales + output(lane) * blocks;
  for (int64_t block = 0; block < blocks; block++) {
    if (block % 16 == 0) {
      for (int half = 0; half < 2; half++) LoadScales(scales + half * 16, block, blocks, loaded[half]);
    }
    const uint8_t* packed[kTileLanes];
    for (int64_t i = 0; i < kTileLanes; i++) packed[i] = job.packed + (output(i) * blocks + block) * kBytes;
    UnpackTile<kBits>(packed, tile);
    const __m512i of_block[2] = {loaded[0][block % 16], loaded[1][block % 16]};
    int64_t row = 0;
    for (; row + kTileRows <= rows; row += kTileRows) {
      MultiplyTile<kTileRows>(tile, rounded, from + row, block, of_block, totals + row * kTileLanes);
    }
    for (; row + 2 <= rows; row += 2) {
      MultiplyTile<2>(tile, rounded, from + row, block, of_block, totals + row * kTileLanes);
    }
    for (; row < rows; row++) {
      MultiplyTile<1>(tile, rounded, from + row, block, of_block, totals + row * kTileLanes);
    }
  }
  for (int64_t row = 0; row < rows; row++) {
    for (int half = 0; half < 2; half++) {
      const int64_t at = first + half * kLanes;
      if (at >= job.n) break;
      const __mmask16 mask = MaskOf(job.n - at);
      __m512 total = _mm512_load_ps(totals + row * kTileLanes + half * kLanes);
      if (job.bias != nullptr) total = _mm512_add_ps(total, _mm512_maskz_loadu_ps(mask, job.bias + at));
      _mm512_mask_storeu_ps(job.output + (from + row) * job.n + at, mask, total);
    }
  }
}

/** Numbers of a register, the even ones in its first half. */
INLINE __m512i EvenFirst(__m512i bytes) {
  const __m512i in_lane = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15));
  const __m512i lanes = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
  return _mm512_permutexvar_epi64(lanes, _mm512_shuffle_epi8(bytes, in_lane));
}

/** `count` numbers, at most 128, as whole steps of 8 bits. The rest is zero. With a NaN the step is NaN. */
template <int kBits>
void RoundBlock(const float* input, int64_t count, int8_t* rounded, float& step, int32_t& middle) {
  __m512 values[8];
  __m512i most = _mm512_setzero_si512();  // bits: of a NaN they are the largest, while a maximum of floats may drop it
  for (int i = 0; i < 8; i++) {
    values[i] = _mm512_maskz_loadu_ps(count <= 16 * i ? __mmask16{0} : MaskOf(count - 16 * i), input + 16 * i);
    most = _mm512_max_epi32(most, _mm512_castps_si512(_mm512_abs_ps(values[i])));
  }
  const float largest = _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(_mm512_reduce_max_epi32(most))));
  step = largest / 127;
  const __m512 per_step = _mm512_set1_ps(largest == 0 ? 0 : 127 / largest);
  alignas(64) int8_t whole[kProductBlock];
  for (int i = 0; i < 8; i++) {
    const __m512i numbers = _mm512_cvtps_epi32(_mm512_mul_ps(values[i], per_step));
    _mm_store_si128(reinterpret_cast<__m128i*>(whole + 16 * i), _mm512_cvtsepi32_epi8(numbers));
  }
  __m512i first = _mm512_load_si512(whole);
  __m512i second = _mm512_load_si512(whole + 64);
  const __m512i ones = _mm512_set1_epi8(1);
  const __m512i sums = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, first), ones, second);
  middle = -(1 << (kBits - 1)) * _mm512_reduce_add_epi32(sums);
  if constexpr (kBits == 4) {
    const __m512i a = EvenFirst(first);
    const __m512i b = EvenFirst(second);
    first = _mm512_shuffle_i64x2(a, b, 0x44);
    second = _mm512_shuffle_i64x2(a, b, 0xee);
  }
  _mm512_storeu_si512(rounded, first);
  _mm512_storeu_si512(rounded + 64, second);
}

}  // namespace

bool CanMultiply(int64_t bits, int64_t block) {
  static const bool has_kernel = HasAvx512() && __builtin_cpu_supports("avx512vnni");
  return has_kernel && block == kProductBlock && (bits == 4 || bits == 8);
}

Product::Product(const ProductJob& job) : job_(job) {
  rounded_.blocks = (job.k + kProductBlock - 1) / kProductBlock;
  rounded_.pitch = rounded_.blocks + (is_narrow() ? kGroup - 1 : 0);
  rounded_.values.resize(static_cast<size_t>(job.rows * rounded_.pitch * kProductBlock));
  rounded_.steps.resize(static_cast<size_t>(job.rows * rounded_.blocks));
  rounded_.middles.resize(static_cast<size_t>(job.rows * rounded_.blocks));
}

void Product::Round(size_t task) {
  const auto row = static_cast<int64_t>(task);
  int8_t* to = rounded_.values.data() + row * rounded_.pitch * kProductBlock;
  for (int64_t block = 0; block < rounded_.blocks; block++) {
    const int64_t at = row * rounded_.blocks + block;
    const float* from = job_.input + row * job_.k + block * kProductBlock;
    const int64_t count = std::min<int64_t>(kProductBlock, job_.k - block * kProductBlock);
    const auto run = job_.bits == 4 ? RoundBlock<4> : RoundBlock<8>;
    run(from, count, to + block * kProductBlock, rounded_.steps[at], rounded_.middles[at]);
  }
  for (int64_t block = rounded_.blocks; block < rounded_.pitch; block++) {
    std::memcpy(to + block * kProductBlock, to + (block - rounded_.blocks) * kProductBlock, kProductBlock);
  }
}

bool Product::is_narrow() const { return job_.rows < kFewestTileRows; }

size_t Product::tasks() const { return static_cast<size_t>((job_.n + kTaskLanes - 1) / kTaskLanes); }

void Product::Multiply(size_t task) const {
  const auto few_rows = job_.bits == 4 ? FewRows<4> : FewRows<8>;
  const auto many_rows = job_.bits == 4 ? ManyRows<4> : ManyRows<8>;
  const int64_t from = static_cast<int64_t>(task) * kTaskLanes;
  const int64_t end = std::min(from + kTaskLanes, job_.n);
  int64_t first = from;
  if (is_narrow()) {
    const int64_t tiles = (end - from) / kLanes;
    few_rows(job_, rounded_, from, tiles);
    first += tiles * kLanes;
  }
  for (int64_t row = 0; row < job_.rows; row += kBandRows) {
    for (int64_t tile = first; tile < end; tile += kTileLanes) {
      many_rows(job_, rounded_, tile, row, std::min(kBandRows, job_.rows - row));
    }
  }
}

}  // namespace avocado

#pragma GCC pop_options

#else

namespace avocado {

bool CanMultiply(int64_t, int64_t) { return false; }
Product::Product(const ProductJob& job) : job_(job), rounded_{} {}
void Product::Round(size_t) {}
size_t Product::tasks() const { return 0; }
void Product::Multiply(size_t) const {}

}  // namespace avocado

#endif

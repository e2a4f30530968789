#include "product.h"

#include <algorithm>

#include "instruction-sets.h"

#if defined(HAS_WIDE_KERNELS)

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")

namespace avocado {

namespace {

/** Outputs whose sums are in one register. */
constexpr int64_t kLanes = 16;
/** Of a tile of many rows: two registers of outputs, and rows whose sums fit into the other registers. */
constexpr int64_t kTileLanes = 2 * kLanes;
constexpr int64_t kTileRows = 8;
/** Rows for which weights are unpacked once: their inputs and sums stay in the nearest cache. */
constexpr int64_t kBandRows = 128;
/** Outputs of a task of few rows: enough work to be worth a thread's asking for it. */
constexpr int64_t kTaskLanes = 4 * kLanes;
/** From so many rows on, unpacking weights into tiles pays; of 3 rows it takes twice as long. */
constexpr int64_t kFewestTileRows = 12;
constexpr int64_t kWords = kProductBlock / 4;
constexpr int64_t kPrefetchBytes = 32768;

/** 16 registers of 16 words, rows and columns exchanged. */
INLINE void Transpose(__m512i* rows) {
  __m512i pairs[16];
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  __m512i fours[16];
  for (int i = 0; i < 16; i += 4) {
    fours[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
    fours[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
    fours[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
    fours[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
  }
  for (int i = 0; i < 4; i++) {
    const __m512i low_a = _mm512_shuffle_i32x4(fours[i], fours[i + 4], 0x88);
    const __m512i high_a = _mm512_shuffle_i32x4(fours[i], fours[i + 4], 0xdd);
    const __m512i low_b = _mm512_shuffle_i32x4(fours[i + 8], fours[i + 12], 0x88);
    const __m512i high_b = _mm512_shuffle_i32x4(fours[i + 8], fours[i + 12], 0xdd);
    rows[i] = _mm512_shuffle_i32x4(low_a, low_b, 0x88);
    rows[i + 4] = _mm512_shuffle_i32x4(high_a, high_b, 0x88);
    rows[i + 8] = _mm512_shuffle_i32x4(low_a, low_b, 0xdd);
    rows[i + 12] = _mm512_shuffle_i32x4(high_a, high_b, 0xdd);
  }
}

/** Lane i of the result is the sum of the lanes of sums[i]. */
INLINE __m512i SumsOf(const __m512i* sums) {
  __m512i pairs[8];
  for (int i = 0; i < 8; i++) {
    pairs[i] = _mm512_add_epi32(_mm512_unpacklo_epi32(sums[2 * i], sums[2 * i + 1]),
                                _mm512_unpackhi_epi32(sums[2 * i], sums[2 * i + 1]));
  }
  __m512i fours[4];
  for (int i = 0; i < 4; i++) {
    fours[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(pairs[2 * i], pairs[2 * i + 1]),
                                _mm512_unpackhi_epi64(pairs[2 * i], pairs[2 * i + 1]));
  }
  const __m512i low = _mm512_add_epi32(_mm512_shuffle_i32x4(fours[0], fours[1], 0x88),
                                       _mm512_shuffle_i32x4(fours[0], fours[1], 0xdd));
  const __m512i high = _mm512_add_epi32(_mm512_shuffle_i32x4(fours[2], fours[3], 0x88),
                                        _mm512_shuffle_i32x4(fours[2], fours[3], 0xdd));
  return _mm512_add_epi32(_mm512_shuffle_i32x4(low, high, 0x88), _mm512_shuffle_i32x4(low, high, 0xdd));
}

/** The 128 weights of a block as two registers of unsigned bytes, in the order of the rounded inputs. */
template <int kBits>
INLINE void Unpack(const uint8_t* packed, __m512i& first, __m512i& second) {
  if constexpr (kBits == 4) {
    const __m512i low_half = _mm512_set1_epi8(0x0f);
    const __m512i both = _mm512_loadu_si512(packed);
    first = _mm512_and_si512(both, low_half);
    second = _mm512_and_si512(_mm512_srli_epi16(both, 4), low_half);
  } else {
    first = _mm512_loadu_si512(packed);
    second = _mm512_loadu_si512(packed + 64);
  }
}

/** Scales of up to 16 blocks from `block` on for 16 outputs: scales[i] has those of block + i. */
INLINE void LoadScales(const float* const* rows, int64_t block, int64_t blocks, __m512i* scales) {
  const auto mask = static_cast<__mmask16>(blocks - block >= 16 ? 0xffff : (1 << (blocks - block)) - 1);
  for (int i = 0; i < 16; i++) scales[i] = _mm512_castps_si512(_mm512_maskz_loadu_ps(mask, rows[i] + block));
  Transpose(scales);
}

INLINE __m512 Add(__m512 total, __m512i sum, int32_t middle, __m512i scales, float step) {
  const __m512 whole = _mm512_cvtepi32_ps(_mm512_add_epi32(sum, _mm512_set1_epi32(middle)));
  return _mm512_fmadd_ps(whole, _mm512_mul_ps(_mm512_castsi512_ps(scales), _mm512_set1_ps(step)), total);
}

INLINE __mmask16 MaskOf(int64_t left) { return static_cast<__mmask16>(left >= kLanes ? 0xffff : (1 << left) - 1); }

/** One row of inputs and the 16 outputs from `first` on. */
template <int kBits>
void FewRows(const ProductJob& job, int64_t blocks, int64_t first, const int8_t* rounded, const float* steps,
             const int32_t* middles, float* output) {
  constexpr int64_t kBytes = kProductBlock * kBits / 8;
  // The processor's own prefetching does not follow 16 short rows. This far ahead is another of them, or the next 16.
  const int64_t ahead = std::min(kLanes * blocks * kBytes, kPrefetchBytes);
  const uint8_t* packed[kLanes];
  const float* scales[kLanes];
  for (int64_t lane = 0; lane < kLanes; lane++) {
    const int64_t row = std::min(first + lane, job.n - 1);
    packed[lane] = job.packed + row * blocks * kBytes;
    scales[lane] = job.scales + row * blocks;
  }
  __m512 total = _mm512_setzero_ps();
  __m512i loaded[16];
  for (int64_t block = 0; block < blocks; block++) {
    if (block % 16 == 0) LoadScales(scales, block, blocks, loaded);
    __builtin_prefetch(scales[0] + (blocks + block) * kLanes);  // those of the next 16, a line with each block
    const __m512i first_inputs = _mm512_loadu_si512(rounded + block * kProductBlock);
    const __m512i second_inputs = _mm512_loadu_si512(rounded + block * kProductBlock + 64);
    __m512i sums[kLanes];
    for (int64_t lane = 0; lane < kLanes; lane++) {
      const uint8_t* at = packed[lane] + block * kBytes;
      __builtin_prefetch(at + ahead);
      __m512i first_weights, second_weights;
      Unpack<kBits>(at, first_weights, second_weights);
      sums[lane] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(_mm512_setzero_si512(), first_weights, first_inputs),
                                       second_weights, second_inputs);
    }
    total = Add(total, SumsOf(sums), middles[block], loaded[block % 16], steps[block]);
  }
  const __mmask16 mask = MaskOf(job.n - first);
  if (job.bias != nullptr) total = _mm512_add_ps(total, _mm512_maskz_loadu_ps(mask, job.bias + first));
  _mm512_mask_storeu_ps(output + first, mask, total);
}

/** A block of 32 outputs, word by word: [32 words, 2 registers] of 16 outputs each. */
template <int kBits>
INLINE void UnpackTile(const uint8_t* const* packed, __m512i* tile) {
  for (int half = 0; half < 2; half++) {
    __m512i firsts[16], seconds[16];
    for (int lane = 0; lane < 16; lane++) Unpack<kBits>(packed[half * 16 + lane], firsts[lane], seconds[lane]);
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
INLINE void MultiplyTile(const __m512i* tile, const int8_t* rounded, int64_t row_bytes, const float* steps,
                         const int32_t* middles, int64_t row_blocks, const __m512i* scales, float* totals) {
  __m512i sums[kRows][2];
  for (int row = 0; row < kRows; row++) sums[row][0] = sums[row][1] = _mm512_setzero_si512();
  for (int word = 0; word < kWords; word++) {
    const __m512i first = tile[2 * word];
    const __m512i second = tile[2 * word + 1];
#pragma GCC unroll 8
    for (int row = 0; row < kRows; row++) {
      int32_t four;
      __builtin_memcpy(&four, rounded + row * row_bytes + 4 * word, 4);
      const __m512i inputs = _mm512_set1_epi32(four);
      sums[row][0] = _mm512_dpbusd_epi32(sums[row][0], first, inputs);
      sums[row][1] = _mm512_dpbusd_epi32(sums[row][1], second, inputs);
    }
  }
  for (int row = 0; row < kRows; row++) {
    for (int half = 0; half < 2; half++) {
      float* at = totals + row * kTileLanes + half * kLanes;
      _mm512_storeu_ps(at, Add(_mm512_loadu_ps(at), sums[row][half], middles[row * row_blocks], scales[half],
                               steps[row * row_blocks]));
    }
  }
}

/** `rows` rows of inputs from `from` on, and the 32 outputs from `first` on. */
template <int kBits>
void ManyRows(const ProductJob& job, int64_t blocks, int64_t first, int64_t from, int64_t rows, const int8_t* rounded,
              const float* steps, const int32_t* middles) {
  constexpr int64_t kBytes = kProductBlock * kBits / 8;
  alignas(64) float totals[kBandRows * kTileLanes] = {};
  alignas(64) __m512i tile[2 * kWords];
  __m512i loaded[2][16];
  const float* scales[kTileLanes];
  for (int64_t lane = 0; lane < kTileLanes; lane++) scales[lane] = job.scales + std::min(first + lane, job.n - 1) * blocks;
  for (int64_t block = 0; block < blocks; block++) {
    if (block % 16 == 0) {
      for (int half = 0; half < 2; half++) LoadScales(scales + half * 16, block, blocks, loaded[half]);
    }
    const uint8_t* packed[kTileLanes];
    for (int64_t lane = 0; lane < kTileLanes; lane++) {
      packed[lane] = job.packed + (std::min(first + lane, job.n - 1) * blocks + block) * kBytes;
    }
    UnpackTile<kBits>(packed, tile);
    const __m512i of_block[2] = {loaded[0][block % 16], loaded[1][block % 16]};
    int64_t row = 0;
    const auto multiply = [&](auto run) {
      const int64_t at = (from + row) * blocks + block;
      run(tile, rounded + at * kProductBlock, blocks * kProductBlock, steps + at, middles + at, blocks, of_block,
          totals + row * kTileLanes);
    };
    for (; row + kTileRows <= rows; row += kTileRows) multiply(MultiplyTile<kTileRows>);
    for (; row < rows; row++) multiply(MultiplyTile<1>);
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

/** `count` numbers, at most 128, as whole steps of 8 bits. The rest is zero. */
template <int kBits>
void RoundBlock(const float* input, int64_t count, int8_t* rounded, float& step, int32_t& middle) {
  __m512 values[8];
  __m512 most = _mm512_setzero_ps();
  for (int i = 0; i < 8; i++) {
    values[i] = _mm512_maskz_loadu_ps(count <= 16 * i ? __mmask16{0} : MaskOf(count - 16 * i), input + 16 * i);
    most = _mm512_max_ps(most, _mm512_abs_ps(values[i]));
  }
  const float largest = _mm512_reduce_max_ps(most);
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
  const __m512i sums =
      _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, first), ones, second);
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

Product::Product(const ProductJob& job)
    : job_(job),
      blocks_((job.k + kProductBlock - 1) / kProductBlock),
      rounded_(static_cast<size_t>(job.rows * blocks_ * kProductBlock)),
      steps_(static_cast<size_t>(job.rows * blocks_)),
      middles_(static_cast<size_t>(job.rows * blocks_)) {}

void Product::Round(size_t task) {
  const auto row = static_cast<int64_t>(task);
  for (int64_t block = 0; block < blocks_; block++) {
    const int64_t at = row * blocks_ + block;
    const float* from = job_.input + row * job_.k + block * kProductBlock;
    const int64_t count = std::min<int64_t>(kProductBlock, job_.k - block * kProductBlock);
    int8_t* to = rounded_.data() + at * kProductBlock;
    if (job_.bits == 4) {
      RoundBlock<4>(from, count, to, steps_[at], middles_[at]);
    } else {
      RoundBlock<8>(from, count, to, steps_[at], middles_[at]);
    }
  }
}

bool Product::is_narrow() const { return job_.rows < kFewestTileRows; }

size_t Product::tasks() const {
  const int64_t lanes = is_narrow() ? kTaskLanes : kTileLanes;
  return static_cast<size_t>((job_.n + lanes - 1) / lanes);
}

void Product::Multiply(size_t task) const {
  if (is_narrow()) {
    const auto run = job_.bits == 4 ? FewRows<4> : FewRows<8>;
    const int64_t from = static_cast<int64_t>(task) * kTaskLanes;
    for (int64_t first = from; first < std::min(from + kTaskLanes, job_.n); first += kLanes) {
      for (int64_t row = 0; row < job_.rows; row++) {
        const int64_t at = row * blocks_;
        run(job_, blocks_, first, rounded_.data() + at * kProductBlock, steps_.data() + at, middles_.data() + at,
            job_.output + row * job_.n);
      }
    }
    return;
  }
  const int64_t first = static_cast<int64_t>(task) * kTileLanes;
  const auto run = job_.bits == 4 ? ManyRows<4> : ManyRows<8>;
  for (int64_t from = 0; from < job_.rows; from += kBandRows) {
    const int64_t rows = std::min(kBandRows, job_.rows - from);
    run(job_, blocks_, first, from, rows, rounded_.data(), steps_.data(), middles_.data());
  }
}

}  // namespace avocado

#pragma GCC pop_options

#else

namespace avocado {

bool CanMultiply(int64_t, int64_t) { return false; }
Product::Product(const ProductJob& job) : job_(job), blocks_(0) {}
void Product::Round(size_t) {}
size_t Product::tasks() const { return 0; }
void Product::Multiply(size_t) const {}

}  // namespace avocado

#endif

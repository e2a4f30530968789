// What the products with quantised weights do with registers of AVX-512. Only with gcc.
#pragma once

#include <cstdint>

#include "instruction-sets.h"

#if defined(HAS_WIDE_KERNELS)

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")

namespace avocado {

/** Outputs whose sums are in one register. */
constexpr int64_t kLanes = 16;

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
    __m512i both = _mm512_loadu_si512(packed);
    asm volatile("" : "+v"(both));  // or gcc loads it twice
    first = _mm512_and_si512(both, low_half);
    second = _mm512_and_si512(_mm512_srli_epi16(both, 4), low_half);
  } else {
    first = _mm512_loadu_si512(packed);
    second = _mm512_loadu_si512(packed + 64);
  }
}

INLINE __mmask16 MaskOf(int64_t left) { return static_cast<__mmask16>(left >= kLanes ? 0xffff : (1 << left) - 1); }

/** Scales of up to 16 blocks from `block` on for 16 outputs: scales[i] has those of block + i. */
INLINE void LoadScales(const float* const* rows, int64_t block, int64_t blocks, __m512i* scales) {
  const __mmask16 mask = MaskOf(blocks - block);
  for (int i = 0; i < 16; i++) scales[i] = _mm512_castps_si512(_mm512_maskz_loadu_ps(mask, rows[i] + block));
  Transpose(scales);
}

/** `total` and the sums of a block, which are whole numbers, times their scales and the inputs' step. */
INLINE __m512 Add(__m512 total, __m512i sums, __m512i scales, float step) {
  const __m512 per_sum = _mm512_mul_ps(_mm512_castsi512_ps(scales), _mm512_set1_ps(step));
  return _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), per_sum, total);
}

/** A prefetch that stays where it stands: gcc gathers its own, and then they wait for each other. */
INLINE void Prefetch(const void* at) { asm volatile("prefetcht0 %0" : : "m"(*static_cast<const char*>(at))); }

/** As _mm512_dpbusd_epi32; with that, gcc copies sums from register to register. */
INLINE __m512i PlusProducts(__m512i sum, __m512i weights, __m512i inputs) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(weights), "v"(inputs));
  return sum;
}

}  // namespace avocado

#pragma GCC pop_options

#endif

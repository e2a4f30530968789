// The resize for one instruction set; see each-instruction-set.h.

namespace avocado {
namespace {
namespace KERNEL {

constexpr int kLanes = KERNEL_BYTES / 4;
constexpr int kRows = kLanes / 4;

typedef float Floats __attribute__((vector_size(KERNEL_BYTES)));
typedef double Doubles __attribute__((vector_size(KERNEL_BYTES * 2)));
typedef int32_t Ints __attribute__((vector_size(KERNEL_BYTES)));
typedef uint8_t Octets __attribute__((vector_size(KERNEL_BYTES / 4)));
typedef uint32_t Quads __attribute__((vector_size(KERNEL_BYTES / 4)));

// gcc 12 converts lane by lane when the width changes by a factor of four, so these two functions name the instruction.
INLINE void Widen(const Octets& octets, Floats& floats) {
#if KERNEL_BYTES == 64
  floats = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(reinterpret_cast<__m128i>(octets)));
#elif KERNEL_BYTES == 32
  floats = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_set_epi64x(0, reinterpret_cast<int64_t>(octets))));
#else
  floats = __builtin_convertvector(octets, Floats);
#endif
}

INLINE void Narrow(const Ints& bits, Octets& octets) {
#if KERNEL_BYTES == 64
  octets = reinterpret_cast<Octets>(_mm512_cvtepi32_epi8(reinterpret_cast<__m512i>(bits)));
#else
  octets = __builtin_convertvector(bits, Octets);
#endif
}

INLINE void Start(Floats& sum, const float* from, float weight) {
  std::memcpy(&sum, from, sizeof sum);
  sum *= weight;
}

INLINE void AddRounded(Floats& sum, const float* from, float weight) {
  Floats product;
  Start(product, from, weight);
  KEEP_APART(product);  // otherwise the compiler would fuse it with the addition
  sum += product;
}

INLINE void AddFused(Floats& sum, const float* from, float weight) {
  Floats value;
  std::memcpy(&value, from, sizeof value);
#if KERNEL_FUSED
  sum = value * weight + sum;
#else
  const Doubles exact =
      __builtin_convertvector(value, Doubles) * static_cast<double>(weight) + __builtin_convertvector(sum, Doubles);
  sum = __builtin_convertvector(exact, Floats);
#endif
}

/** Clamped to 0..255 and rounded half to even. */
INLINE void StoreBytes(const Floats& sum, uint8_t* to, int32_t count) {
  const Floats black = {};
  const Floats white = black + 255.0f;
  Floats value = sum < black ? black : sum;
  value = value > white ? white : value;
  value += 8388608.0f;  // 2^23: the sum's low bits are the rounded integer
  Ints bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits &= 255;
  Octets octets;
  Narrow(bits, octets);
  std::memcpy(to, &octets, static_cast<size_t>(count));
}

/**
 * Converts source rows from `first` on to floats, interleaved. Rows past the end repeat the last row and are never
 * used.
 */
INLINE void Spread(const ResizeJob& job, int32_t first, float* line) {
  const size_t row_bytes = static_cast<size_t>(job.source_width) * 3;
  const uint8_t* rows[kRows];
  for (int r = 0; r < kRows; r++) {
    const int32_t row = first + r < job.source_height ? first + r : job.source_height - 1;
    rows[r] = job.source + row_bytes * static_cast<size_t>(row);
  }
  // The last pixel is read byte by byte: a fourth byte may be past the end of the frame.
  const int32_t last = job.source_width - 1;
  for (int32_t x = 0; x < last; x++) {
    Quads quads;
    for (int r = 0; r < kRows; r++) {
      uint32_t quad;
      std::memcpy(&quad, rows[r] + 3 * x, 4);
      quads[r] = quad;  // stays in a register: going through memory would stall
    }
    Octets octets;
    std::memcpy(&octets, &quads, sizeof octets);
    Floats value;
    Widen(octets, value);
    std::memcpy(line + static_cast<size_t>(x) * kLanes, &value, sizeof value);
  }
  float* end = line + static_cast<size_t>(last) * kLanes;
  for (int r = 0; r < kRows; r++) {
    for (int c = 0; c < 3; c++) end[r * 4 + c] = rows[r][row_bytes - 3 + static_cast<size_t>(c)];
  }
}

INLINE void Horizontal(const ResizeJob& job, int32_t first, const Scratch& scratch) {
  Spread(job, first, scratch.line);
  float* out = scratch.ring + static_cast<size_t>(first % scratch.ring_rows) * scratch.row_floats;
  for (int32_t x = 0; x < job.target_width; x++) {
    const float* from = scratch.line + static_cast<size_t>(job.columns.start[x]) * kLanes;
    const float* weights = job.columns.weights + static_cast<size_t>(x) * job.columns.stride;
    const int32_t count = job.columns.count[x];
    const int32_t apart = (count - 1) / 4 * 4;
    Floats sum;
    Start(sum, from, weights[0]);
    int32_t k = 1;
    for (; k <= apart; k++) AddRounded(sum, from + k * kLanes, weights[k]);
    for (; k < count; k++) AddFused(sum, from + k * kLanes, weights[k]);
    // The unused lane overwrites part of the next pixel, which is written later (rows are padded for the last one).
    for (int r = 0; r < kRows; r++) {
      std::memcpy(out + r * scratch.row_floats + 3 * x, reinterpret_cast<const float*>(&sum) + 4 * r, 16);
    }
  }
}

INLINE void Vertical(const ResizeJob& job, int32_t y, const Scratch& scratch) {
  const int32_t count = job.rows.count[y];
  const int32_t apart = (count - 1) / 4 * 4;
  const float* weights = job.rows.weights + static_cast<size_t>(y) * job.rows.stride;
  const float** rows = scratch.taps;
  for (int32_t k = 0; k < count; k++) {
    rows[k] = scratch.ring + static_cast<size_t>((job.rows.start[y] + k) % scratch.ring_rows) * scratch.row_floats;
  }
  const int32_t width = job.target_width * 3;
  const size_t offset = static_cast<size_t>(y) * width;
  for (int32_t i = 0; i < width; i += kLanes) {
    Floats sum;
    Start(sum, rows[0] + i, weights[0]);
    int32_t k = 1;
    for (; k <= apart; k++) AddRounded(sum, rows[k] + i, weights[k]);
    for (; k < count; k++) AddFused(sum, rows[k] + i, weights[k]);
    const int32_t left = width - i < kLanes ? width - i : kLanes;
    if (job.target_floats != nullptr) {
      std::memcpy(job.target_floats + offset + i, &sum, static_cast<size_t>(left) * sizeof(float));
    } else if (left == kLanes) {  // a constant count compiles to one store
      StoreBytes(sum, job.target_bytes + offset + i, kLanes);
    } else {
      StoreBytes(sum, job.target_bytes + offset + i, left);
    }
  }
}

void Resize(const ResizeJob& job, const Scratch& scratch) {
  int32_t done = 0;  // source rows whose horizontal pass is done
  for (int32_t y = 0; y < job.target_height; y++) {
    const int32_t first = job.rows.start[y];
    if (done < first / kRows * kRows) done = first / kRows * kRows;
    for (; done < first + job.rows.count[y]; done += kRows) Horizontal(job, done, scratch);
    Vertical(job, y, scratch);
  }
}

}  // namespace KERNEL
}  // namespace
}  // namespace avocado

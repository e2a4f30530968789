// Horizontal pass on a few source rows at once (lanes: rows x RGB and one idle), then the vertical pass over a ring of
// finished rows, so that a frame costs one small buffer and every instruction fills a whole register.
//
// torch 2.x sums in a peculiar way: the first product, then groups of four taps multiplied and added apart, then the rest
// fused. The same order here gives the same bits.
#include "resize.h"

#include <algorithm>
#include <cstring>
#include <vector>

#if defined(__clang__)
#pragma clang fp contract(fast)
#else
#pragma GCC diagnostic ignored "-Wpsabi"
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

// Conversions between lane types want types that depend on no template parameter, so each register size is spelled out.
template <int Bytes>
struct Lanes;
#define LANES(BYTES)                                                                                                          \
  template <>                                                                                                                 \
  struct Lanes<BYTES> {                                                                                                       \
    typedef float Floats __attribute__((vector_size(BYTES)));                                                                 \
    typedef double Doubles __attribute__((vector_size(BYTES * 2)));                                                           \
    typedef int32_t Ints __attribute__((vector_size(BYTES)));                                                                 \
    typedef uint8_t Octets __attribute__((vector_size(BYTES / 4)));                                                           \
    typedef uint32_t Quads __attribute__((vector_size(BYTES / 4)));                                                           \
    static INLINE void Widen(const Octets& from, Floats& to) {                                                                \
      const Ints wide = __builtin_convertvector(from, Ints);                                                                  \
      to = __builtin_convertvector(wide, Floats);                                                                             \
    }                                                                                                                         \
    static INLINE void Narrow(const Ints& from, Octets& to) { to = __builtin_convertvector(from, Octets); }                   \
    static INLINE void AddExact(Floats& sum, const Floats& value, double weight) {                                            \
      const Doubles exact = __builtin_convertvector(value, Doubles) * weight + __builtin_convertvector(sum, Doubles);         \
      sum = __builtin_convertvector(exact, Floats);                                                                           \
    }                                                                                                                         \
  };
LANES(16)
LANES(32)
LANES(64)

/** One register of floats and what is done with it. `Fused`: the machine multiplies and adds with one rounding. */
template <int Bytes, bool Fused>
struct Register : Lanes<Bytes> {
  static constexpr int kLanes = Bytes / 4;
  static constexpr int kRows = kLanes / 4;
  using typename Lanes<Bytes>::Floats;
  using typename Lanes<Bytes>::Ints;
  using typename Lanes<Bytes>::Octets;

  static INLINE void Start(Floats& sum, const float* from, float weight) {
    std::memcpy(&sum, from, sizeof sum);
    sum *= weight;
  }

  static INLINE void AddRounded(Floats& sum, const float* from, float weight) {
    Floats product;
    Start(product, from, weight);
    KEEP_APART(product);  // or the compiler would fuse it with the addition
    sum += product;
  }

  static INLINE void AddFused(Floats& sum, const float* from, float weight) {
    Floats value;
    std::memcpy(&value, from, sizeof value);
    if constexpr (Fused) sum = value * weight + sum;
    else Lanes<Bytes>::AddExact(sum, value, weight);
  }

  /** Clamped to 0..255 and rounded half to even. */
  static INLINE void StoreBytes(const Floats& sum, uint8_t* to, int32_t count) {
    const Floats black = {};
    const Floats white = black + 255.0f;
    Floats value = sum < black ? black : sum;
    value = value > white ? white : value;
    value += 8388608.0f;  // 2^23: the sum's low bits are the rounded integer
    Ints bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits &= 255;
    Octets octets;
    Lanes<Bytes>::Narrow(bits, octets);
    std::memcpy(to, &octets, static_cast<size_t>(count));
  }
};

struct Scratch {
  std::vector<float> line;         // [source_width, rows at once, 4]
  std::vector<float> ring;         // [ring_rows, row_floats]
  std::vector<const float*> taps;  // ring rows of one output row
  int32_t ring_rows;
  int32_t row_floats;
};

/** Source rows from `first` on as floats, side by side; rows past the end repeat the last one and are never used. */
template <class R>
INLINE void Spread(const ResizeJob& job, int32_t first, float* line) {
  const size_t row_bytes = static_cast<size_t>(job.source_width) * 3;
  const uint8_t* rows[R::kRows];
  for (int r = 0; r < R::kRows; r++) rows[r] = job.source + row_bytes * static_cast<size_t>(std::min(first + r, job.source_height - 1));
  // The last pixel is read byte by byte: a fourth byte may lie past the frame.
  const int32_t last = job.source_width - 1;
  for (int32_t x = 0; x < last; x++) {
    typename R::Quads quads;
    for (int r = 0; r < R::kRows; r++) {
      uint32_t quad;
      std::memcpy(&quad, rows[r] + 3 * x, 4);
      quads[r] = quad;  // in a register: a pass through memory would stall
    }
    typename R::Octets octets;
    std::memcpy(&octets, &quads, sizeof octets);
    typename R::Floats value;
    R::Widen(octets, value);
    std::memcpy(line + static_cast<size_t>(x) * R::kLanes, &value, sizeof value);
  }
  float* end = line + static_cast<size_t>(last) * R::kLanes;
  for (int r = 0; r < R::kRows; r++) {
    for (int c = 0; c < 3; c++) end[r * 4 + c] = rows[r][row_bytes - 3 + static_cast<size_t>(c)];
  }
}

template <class R>
INLINE void Horizontal(const ResizeJob& job, int32_t first, Scratch& scratch) {
  Spread<R>(job, first, scratch.line.data());
  float* out = scratch.ring.data() + static_cast<size_t>(first % scratch.ring_rows) * scratch.row_floats;
  for (int32_t x = 0; x < job.target_width; x++) {
    const float* from = scratch.line.data() + static_cast<size_t>(job.columns.start[x]) * R::kLanes;
    const float* weights = job.columns.weights + static_cast<size_t>(x) * job.columns.stride;
    const int32_t count = job.columns.count[x];
    const int32_t apart = (count - 1) / 4 * 4;
    typename R::Floats sum;
    R::Start(sum, from, weights[0]);
    int32_t k = 1;
    for (; k <= apart; k++) R::AddRounded(sum, from + k * R::kLanes, weights[k]);
    for (; k < count; k++) R::AddFused(sum, from + k * R::kLanes, weights[k]);
    // The idle lane spills onto the next pixel, which is written after it (rows are padded for the last one).
    for (int r = 0; r < R::kRows; r++) std::memcpy(out + r * scratch.row_floats + 3 * x, reinterpret_cast<const float*>(&sum) + 4 * r, 16);
  }
}

template <class R>
INLINE void Vertical(const ResizeJob& job, int32_t y, Scratch& scratch) {
  const int32_t count = job.rows.count[y];
  const int32_t apart = (count - 1) / 4 * 4;
  const float* weights = job.rows.weights + static_cast<size_t>(y) * job.rows.stride;
  const float** rows = scratch.taps.data();
  for (int32_t k = 0; k < count; k++) {
    rows[k] = scratch.ring.data() + static_cast<size_t>((job.rows.start[y] + k) % scratch.ring_rows) * scratch.row_floats;
  }
  const int32_t width = job.target_width * 3;
  const size_t offset = static_cast<size_t>(y) * width;
  for (int32_t i = 0; i < width; i += R::kLanes) {
    typename R::Floats sum;
    R::Start(sum, rows[0] + i, weights[0]);
    int32_t k = 1;
    for (; k <= apart; k++) R::AddRounded(sum, rows[k] + i, weights[k]);
    for (; k < count; k++) R::AddFused(sum, rows[k] + i, weights[k]);
    const int32_t left = std::min(width - i, R::kLanes);
    if (job.target_floats != nullptr) std::memcpy(job.target_floats + offset + i, &sum, static_cast<size_t>(left) * sizeof(float));
    else if (left == R::kLanes) R::StoreBytes(sum, job.target_bytes + offset + i, R::kLanes);
    else R::StoreBytes(sum, job.target_bytes + offset + i, left);
  }
}

template <class R>
INLINE void Resize(const ResizeJob& job) {
  const int32_t most_rows = *std::max_element(job.rows.count, job.rows.count + job.target_height);
  Scratch scratch;
  scratch.ring_rows = (most_rows / R::kRows + 3) * R::kRows;
  scratch.row_floats = job.target_width * 3 + 2 * R::kLanes;
  scratch.line.resize(static_cast<size_t>(job.source_width) * R::kLanes);
  scratch.ring.resize(static_cast<size_t>(scratch.ring_rows) * scratch.row_floats);
  scratch.taps.resize(static_cast<size_t>(most_rows));
  int32_t done = 0;  // source rows whose horizontal pass is finished
  for (int32_t y = 0; y < job.target_height; y++) {
    const int32_t first = job.rows.start[y];
    done = std::max(done, first / R::kRows * R::kRows);
    for (; done < first + job.rows.count[y]; done += R::kRows) Horizontal<R>(job, done, scratch);
    Vertical<R>(job, y, scratch);
  }
}

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma"))) void ResizeAvx512(const ResizeJob& job) {
  Resize<Register<64, true>>(job);
}
__attribute__((target("avx2,fma"))) void ResizeAvx2(const ResizeJob& job) { Resize<Register<32, true>>(job); }
void ResizeAnywhere(const ResizeJob& job) { Resize<Register<16, false>>(job); }

void (*Choose())(const ResizeJob&) {
  const bool fused = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool wide = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (fused && wide) return ResizeAvx512;
  return fused ? ResizeAvx2 : ResizeAnywhere;
}
#elif defined(__aarch64__)
void ResizeAnywhere(const ResizeJob& job) { Resize<Register<16, true>>(job); }
void (*Choose())(const ResizeJob&) { return ResizeAnywhere; }
#else
void ResizeAnywhere(const ResizeJob& job) { Resize<Register<16, false>>(job); }
void (*Choose())(const ResizeJob&) { return ResizeAnywhere; }
#endif

}  // namespace

void ResizeRgb(const ResizeJob& job) {
  static void (*const resize)(const ResizeJob&) = Choose();
  resize(job);
}

}  // namespace avocado

// Attention over one range of tokens for one instruction set; see each-instruction-set.h.

namespace avocado {
namespace {
namespace KERNEL {

constexpr int32_t kLanes = KERNEL_BYTES / 4;
/** Query heads and vectors that are summed at once: their sums stay in registers. */
constexpr int kHeadsAtOnce = KERNEL_BYTES == 64 ? 4 : 2;

typedef float Floats __attribute__((vector_size(KERNEL_BYTES)));
typedef float Fours __attribute__((vector_size(16)));
typedef int32_t Ints __attribute__((vector_size(KERNEL_BYTES)));

INLINE Floats Load(const float* from) {
  Floats value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

INLINE void Store(const Floats& value, float* to) { std::memcpy(to, &value, sizeof value); }

/** All lanes put together by `join`, half by half. */
template <typename Join>
INLINE float Fold(const Floats& value, const Join& join) {
  Fours parts[kLanes / 4];
  std::memcpy(parts, &value, sizeof value);
  for (int width = kLanes / 8; width > 0; width /= 2) {
    for (int part = 0; part < width; part++) parts[part] = join(parts[part], parts[part + width]);
  }
  const Fours pairs = join(parts[0], Fours{parts[0][2], parts[0][3], parts[0][2], parts[0][3]});
  return join(pairs, Fours{pairs[1], pairs[1], pairs[1], pairs[1]})[0];
}

INLINE float Sum(const Floats& value) {
  return Fold(value, [](const auto& left, const auto& right) { return left + right; });
}

/** The sums of four registers' lanes, times `scale`. Lane by lane this would take as long as the products. */
INLINE void SumFour(const Floats (&values)[4], float scale, float* to) {
#if defined(__x86_64__)
#if KERNEL_BYTES == 64
#define UNPACK(half, type) _mm512_unpack##half##_##type
  typedef __m512d Pairs;
#elif KERNEL_BYTES == 32
#define UNPACK(half, type) _mm256_unpack##half##_##type
  typedef __m256d Pairs;
#else
#define UNPACK(half, type) _mm_unpack##half##_##type
  typedef __m128d Pairs;
#endif
  // Every four lanes of `sum` hold a part of the four sums.
  const Floats left = UNPACK(lo, ps)(values[0], values[1]) + UNPACK(hi, ps)(values[0], values[1]);
  const Floats right = UNPACK(lo, ps)(values[2], values[3]) + UNPACK(hi, ps)(values[2], values[3]);
  const Pairs low = UNPACK(lo, pd)(reinterpret_cast<Pairs>(left), reinterpret_cast<Pairs>(right));
  const Pairs high = UNPACK(hi, pd)(reinterpret_cast<Pairs>(left), reinterpret_cast<Pairs>(right));
  const Floats sum = reinterpret_cast<Floats>(low) + reinterpret_cast<Floats>(high);
#undef UNPACK
  Fours parts[kLanes / 4];
  std::memcpy(parts, &sum, sizeof sum);
  for (int width = kLanes / 8; width > 0; width /= 2) {
    for (int part = 0; part < width; part++) parts[part] += parts[part + width];
  }
  const Fours scaled = parts[0] * scale;
  std::memcpy(to, &scaled, sizeof scaled);
#else
  for (int index = 0; index < 4; index++) to[index] = Sum(values[index]) * scale;
#endif
}

/** e^x for x <= 0, with a relative error of some 1e-7; 0 below -87. */
INLINE Floats Exp(const Floats& x) {
  const Floats least = Floats{} - 87.0f;
  const Floats clamped = x < least ? least : x;
  const Floats magic = Floats{} + 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const Floats shifted = clamped * 1.44269504f + magic;
  const Floats whole = shifted - magic;
  const Floats rest = (clamped - whole * 0.693359375f) + whole * 2.12194440e-4f;
  Floats sum = Floats{} + 1.9875691500e-4f;
  sum = sum * rest + 1.3981999507e-3f;
  sum = sum * rest + 8.3334519073e-3f;
  sum = sum * rest + 4.1665795894e-2f;
  sum = sum * rest + 1.6666665459e-1f;
  sum = sum * rest + 5.0000001201e-1f;
  sum = sum * rest * rest + rest + 1.0f;
  Ints bits;
  std::memcpy(&bits, &sum, sizeof bits);
  Ints power;
  std::memcpy(&power, &shifted, sizeof power);
  bits += power << 23;  // the low bits of `shifted` are the power of two
  std::memcpy(&sum, &bits, sizeof sum);
  return x < least ? Floats{} : sum;
}

/** scores[head][token] = scale * query[head] * keys[token] for a few heads and tokens. */
template <int Heads, int Tokens>
INLINE void Scores(const float* query, const float* keys, int32_t size, float scale, float* scores) {
  Floats sums[Heads][Tokens] = {};
  for (int32_t at = 0; at < size; at += kLanes) {
    Floats key[Tokens];
    for (int token = 0; token < Tokens; token++) key[token] = Load(keys + token * size + at);
    for (int head = 0; head < Heads; head++) {
      const Floats part = Load(query + head * size + at);
      for (int token = 0; token < Tokens; token++) sums[head][token] += part * key[token];
    }
  }
  for (int head = 0; head < Heads; head++) {
    float* row = scores + head * kBlock;
    if constexpr (Tokens == 4) {
      SumFour(sums[head], scale, row);
    } else {
      for (int token = 0; token < Tokens; token++) row[token] = Sum(sums[head][token]) * scale;
    }
  }
}

/** Asks the memory for what is read next, while something else is computed. */
INLINE void Prefetch(const float* from, int32_t floats) {
  for (int32_t at = 0; at < floats; at += kLine) __builtin_prefetch(from + at);
}

template <int Heads>
void ScoreRows(const RangeJob& job, int32_t head, const float* keys, const float* next, int32_t tokens,
               float* scores) {
  const int32_t size = job.head_size;
  const float* query = job.query + head * size;
  scores += head * kBlock;
  int32_t token = 0;
  for (; token + 4 <= tokens; token += 4) {
    if (head == 0) Prefetch(next + token * size, 4 * size);
    Scores<Heads, 4>(query, keys + token * size, size, job.scale, scores + token);
  }
  for (; token < tokens; token++) Scores<Heads, 1>(query, keys + token * size, size, job.scale, scores + token);
}

/** sums[head] += weights[head] * values, for a few heads and `Vectors` registers of each. */
template <int Heads, int Vectors>
INLINE void Weigh(const float* weights, const float* values, const float* next, int32_t tokens, int32_t size,
                  float* sums) {
  Floats held[Heads][Vectors];
  for (int head = 0; head < Heads; head++) {
    for (int vector = 0; vector < Vectors; vector++) held[head][vector] = Load(sums + head * size + vector * kLanes);
  }
  for (int32_t token = 0; token < tokens; token++) {
    if (next != nullptr) Prefetch(next + token * size, size);
    Floats value[Vectors];
    for (int vector = 0; vector < Vectors; vector++) value[vector] = Load(values + token * size + vector * kLanes);
    for (int head = 0; head < Heads; head++) {
      const float weight = weights[head * kBlock + token];
      for (int vector = 0; vector < Vectors; vector++) held[head][vector] += weight * value[vector];
    }
  }
  for (int head = 0; head < Heads; head++) {
    for (int vector = 0; vector < Vectors; vector++) Store(held[head][vector], sums + head * size + vector * kLanes);
  }
}

template <int Heads>
void WeighRows(const float* weights, const float* values, const float* next, int32_t tokens, int32_t size,
               float* sums) {
  int32_t at = 0;
  for (; at + 4 * kLanes <= size; at += 4 * kLanes) {
    Weigh<Heads, 4>(weights, values + at, at == 0 ? next : nullptr, tokens, size, sums + at);
  }
  for (; at < size; at += kLanes) {
    Weigh<Heads, 1>(weights, values + at, at == 0 ? next : nullptr, tokens, size, sums + at);
  }
}

/** Scores become weights relative to the largest score so far; what was summed before is scaled to it. */
INLINE void Soften(float* scores, int32_t tokens, int32_t size, float* sums, float& largest, float& total) {
  // so that whole registers can be computed: e^-inf is 0
  for (int32_t token = tokens; token % kLanes != 0; token++) scores[token] = -INFINITY;
  const auto greater = [](const auto& left, const auto& right) { return left > right ? left : right; };
  Floats most = Floats{} + largest;
  for (int32_t token = 0; token < tokens; token += kLanes) most = greater(Load(scores + token), most);
  const float found = Fold(most, greater);
  if (found != largest) {
    const float kept = std::exp(largest - found);
    for (int32_t at = 0; at < size; at += kLanes) Store(Load(sums + at) * kept, sums + at);
    total *= kept;
    largest = found;
  }
  Floats added = {};
  for (int32_t token = 0; token < tokens; token += kLanes) {
    const Floats weight = Exp(Load(scores + token) - found);
    Store(weight, scores + token);
    added += weight;
  }
  total += Sum(added);
}

/** Calls `rows` for all heads of a job, a few at a time. */
template <typename Rows>
INLINE void ForHeads(int32_t heads, const Rows& rows) {
  int32_t head = 0;
  for (; head + kHeadsAtOnce <= heads; head += kHeadsAtOnce) rows(Count<kHeadsAtOnce>{}, head);
  if (heads - head == 3) rows(Count<3>{}, head);
  if (heads - head == 2) rows(Count<2>{}, head);
  if (heads - head == 1) rows(Count<1>{}, head);
}

/** See RangeJob. */
void Attend(const RangeJob& job) {
  const int32_t size = job.head_size;
  alignas(64) float scores[kMostGroup * kBlock];
  for (int32_t first = 0; first < job.tokens; first += kBlock) {
    const int32_t tokens = std::min(kBlock, job.tokens - first);
    const float* keys = job.keys + static_cast<size_t>(first) * size;
    const float* values = job.values + static_cast<size_t>(first) * size;
    const float* next = first + kBlock < job.tokens ? keys + kBlock * size : nullptr;
    ForHeads(job.heads, [&](auto count, int32_t head) {
      ScoreRows<decltype(count)::value>(job, head, keys, values, tokens, scores);
    });
    for (int32_t head = 0; head < job.heads; head++) {
      Soften(scores + head * kBlock, tokens, size, job.sums + head * size, job.largest[head], job.totals[head]);
    }
    ForHeads(job.heads, [&](auto count, int32_t head) {
      const float* ahead = head == 0 ? next : nullptr;
      WeighRows<decltype(count)::value>(scores + head * kBlock, values, ahead, tokens, size, job.sums + head * size);
    });
  }
}

}  // namespace KERNEL
}  // namespace
}  // namespace avocado

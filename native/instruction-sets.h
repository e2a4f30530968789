// What kernels that are compiled for several instruction sets share. The wide ones only with gcc.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__clang__)
#pragma clang fp contract(fast)
#else
#pragma GCC diagnostic ignored "-Wpsabi"
// gcc 12 warns about its own headers, where intrinsics start from an undefined register.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#if defined(__x86_64__) && !defined(__clang__)
#define HAS_WIDE_KERNELS
#endif

#define INLINE inline __attribute__((always_inline))

#if defined(HAS_WIDE_KERNELS)
namespace avocado {

inline bool HasAvx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

inline bool HasAvx512() {
  return HasAvx2() && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq");
}

}  // namespace avocado
#endif

// Includes KERNEL_FILE once for each instruction set. For each it has defined KERNEL (a namespace), KERNEL_BYTES (size of
// a register) and KERNEL_FUSED (the machine has a multiply-add with one rounding) and set the compiler's target. Wide
// instructions may only be in functions of that target.
#include "instruction-sets.h"

#if defined(HAS_WIDE_KERNELS)
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define KERNEL avx2
#define KERNEL_BYTES 32
#define KERNEL_FUSED 1
#include KERNEL_FILE
#undef KERNEL
#undef KERNEL_BYTES
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq")
#define KERNEL avx512
#define KERNEL_BYTES 64
#include KERNEL_FILE
#undef KERNEL
#undef KERNEL_BYTES
#undef KERNEL_FUSED
#pragma GCC pop_options
#endif

#define KERNEL portable
#define KERNEL_BYTES 16
#if defined(__aarch64__)
#define KERNEL_FUSED 1
#else
#define KERNEL_FUSED 0
#endif
#include KERNEL_FILE
#undef KERNEL
#undef KERNEL_BYTES
#undef KERNEL_FUSED

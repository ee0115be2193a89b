// Element types and helpers of all kernels. Sums are taken in float; bf16 and f16 are storage only.
//
// Without nvcc the same files compile as C++ (emulation.h), so that their arithmetic is tested on any machine.
#pragma once

#ifdef __CUDACC__
#define KERNEL(name, parameters) extern "C" __global__ void __launch_bounds__(256) name parameters
#define DEVICE __device__ __forceinline__
#define ALIGNED(address, size)
#else
#include "emulation.h"
#define DEVICE inline
#endif

// Threads of every block.
constexpr int THREADS = 256;

struct bf16 {
    unsigned short bits;
};
struct f16 {
    unsigned short bits;
};

#ifdef __CUDACC__
DEVICE float bits_to_float(unsigned bits) { return __uint_as_float(bits); }
DEVICE unsigned float_to_bits(float x) { return __float_as_uint(x); }
#else
DEVICE float bits_to_float(unsigned bits) {
    float x;
    __builtin_memcpy(&x, &bits, 4);
    return x;
}
DEVICE unsigned float_to_bits(float x) {
    unsigned bits;
    __builtin_memcpy(&bits, &x, 4);
    return bits;
}
#endif

DEVICE float widen(float x) { return x; }
DEVICE float widen(bf16 x) { return bits_to_float((unsigned)x.bits << 16); }
DEVICE float widen(f16 x) {
#ifdef __CUDACC__
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
#else
    return half_to_float(x.bits);
#endif
}

DEVICE void narrow(float x, float &y) { y = x; }
// Rounds to nearest, ties to even; a NaN stays one.
DEVICE void narrow(float x, bf16 &y) {
    unsigned bits = float_to_bits(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        y.bits = (unsigned short)((bits >> 16) | 0x40u);
    } else {
        y.bits = (unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
    }
}
DEVICE void narrow(float x, f16 &y) {
#ifdef __CUDACC__
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
#else
    y.bits = float_to_half(x);
#endif
}

// V neighbouring channels, read and written as one; they begin at a multiple of their size, or a device stops.
template <typename T, int V> struct alignas(sizeof(T) * V) Pack {
    T at[V];
};

template <typename T, int V> DEVICE void load(const T *from, float (&to)[V]) {
    ALIGNED(from, alignof(Pack<T, V>));
    Pack<T, V> pack = *reinterpret_cast<const Pack<T, V> *>(from);
#pragma unroll
    for (int v = 0; v < V; v++) to[v] = widen(pack.at[v]);
}

template <typename T, int V> DEVICE void store(const float (&from)[V], T *to) {
    ALIGNED(to, alignof(Pack<T, V>));
    Pack<T, V> pack;
#pragma unroll
    for (int v = 0; v < V; v++) narrow(from[v], pack.at[v]);
    *reinterpret_cast<Pack<T, V> *>(to) = pack;
}

// Instances of a kernel for each type, and for each type and each width of its packs.
#define FOR_EACH_TYPE(M) M(float, f32) M(bf16, bf16) M(f16, f16)
#define FOR_EACH_PACK(M) M(float, f32, 1) M(float, f32, 4) M(bf16, bf16, 1) M(bf16, bf16, 8) M(f16, f16, 1) M(f16, f16, 8)

// i over [0, count) in steps of the whole grid. Counts are below 2^31 (checked by the caller): divisions of 32 bits cost a
// fifth of those of 64.
#define FOR_EACH_INDEX(i, count)                                                                                       \
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < (unsigned)(count); i += gridDim.x * blockDim.x)

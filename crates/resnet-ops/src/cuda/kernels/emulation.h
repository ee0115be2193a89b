// What nvcc gives a kernel, in plain C++: blocks run one after the other, the threads of a block as coroutines that
// __syncthreads switches between, so that shared memory holds what it holds on a device. Threads run in the order 0, 1, 2,
// … or backwards: a result that depends on it lacks a barrier.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <tuple>
#include <ucontext.h>
#include <utility>
#include <vector>

struct Dim {
    unsigned x, y, z;
};

namespace emulation {
extern thread_local Dim thread_index, block_index, block_size, grid_size;
void barrier();
typedef void (*Call)(void **);
int add(const char *name, Call call);

template <auto function> struct Bound;
template <typename... A, void (*function)(A...)> struct Bound<function> {
    template <size_t... I> static void spread(void **arguments, std::index_sequence<I...>) {
        function(*static_cast<A *>(arguments[I])...);
    }
    static void call(void **arguments) { spread(arguments, std::index_sequence_for<A...>{}); }
};
} // namespace emulation

// The processor would read from anywhere: here it stops as a device does.
#define ALIGNED(address, size)                                                                                         \
    if ((size_t)(address) % (size)) std::fprintf(stderr, "%p is no multiple of %zu\n", (void *)(address), (size)), std::abort()

#define threadIdx emulation::thread_index
#define blockIdx emulation::block_index
#define blockDim emulation::block_size
#define gridDim emulation::grid_size
#define __syncthreads emulation::barrier
#define __shared__ static
#define KERNEL(name, parameters)                                                                                       \
    void name parameters;                                                                                              \
    static const int registered_##name = emulation::add(#name, emulation::Bound<&name>::call);                         \
    void name parameters

inline float half_to_float(unsigned short h) {
    int exponent = (h >> 10) & 31, fraction = h & 1023;
    float value = exponent == 0    ? std::ldexp((float)fraction, -24)
                  : exponent == 31 ? (fraction ? NAN : INFINITY)
                                   : std::ldexp((float)(fraction | 1024), exponent - 25);
    return h & 0x8000 ? -value : value;
}

inline unsigned short float_to_half(float x) {
    unsigned short sign = std::signbit(x) ? 0x8000 : 0;
    if (std::isnan(x)) return sign | 0x7e00;
    float magnitude = std::fabs(x);
    if (magnitude >= 65520.f) return sign | 0x7c00;
    int exponent;
    std::frexp(magnitude, &exponent);
    // Steps of 2^(exponent - 11), of 2^-24 where numbers are subnormal; nearbyint rounds ties to even.
    int step = exponent - 11 < -24 ? -24 : exponent - 11;
    float rounded = std::nearbyint(std::ldexp(magnitude, -step));
    float value = std::ldexp(rounded, step);
    std::frexp(value, &exponent);
    if (value < std::ldexp(1.f, -14)) return sign | (unsigned short)std::ldexp(value, 24);
    int biased = exponent + 14;
    return sign | (unsigned short)((biased << 10) + ((int)std::ldexp(value, 11 - exponent) - 1024));
}

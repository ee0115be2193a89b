// Between candle's order of values (outer, channels, pixels) and channels-last (outer, pixels, channels). Weights
// (O, C, kh, kw) are such an array too: outer O, pixels kh·kw.
#include "common.cuh"

template <typename T> DEVICE void to_channels_last(const float *x, T *y, int outer, int channels, int pixels) {
    FOR_EACH_INDEX(i, (long long)outer * channels * pixels) {
        int c = i % channels;
        unsigned rest = i / channels;
        narrow(x[(rest / pixels * channels + c) * pixels + rest % pixels], y[i]);
    }
}

template <typename T> DEVICE void to_channels_first(const T *x, float *y, int outer, int channels, int pixels) {
    FOR_EACH_INDEX(i, (long long)outer * channels * pixels) {
        int p = i % pixels;
        unsigned rest = i / pixels;
        y[i] = widen(x[(rest / channels * pixels + p) * channels + rest % channels]);
    }
}

#define LAYOUT(T, name)                                                                                                \
    KERNEL(to_channels_last_##name, (const float *x, T *y, int outer, int channels, int pixels)) {                     \
        to_channels_last<T>(x, y, outer, channels, pixels);                                                            \
    }                                                                                                                  \
    KERNEL(to_channels_first_##name, (const T *x, float *y, int outer, int channels, int pixels)) {                    \
        to_channels_first<T>(x, y, outer, channels, pixels);                                                           \
    }
FOR_EACH_TYPE(LAYOUT)

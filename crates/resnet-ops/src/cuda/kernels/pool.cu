// Pooling over channels-last maps. Gradients are gathered: every input value sums over the windows that hold it, so
// that the order of the sum is fixed and no atomic operation is needed.
#include "common.cuh"

// A window's sizes: maps (n, h, w, c) to (n, oh, ow, c).
struct Window {
    int n, h, w, c, oh, ow, kh, kw, sh, sw, ph, pw;
};

// The place of a value in a channels-last map.
struct Place {
    int channel, column, row;
    long long image;
};
DEVICE Place place(unsigned i, int h, int w, int c) {
    Place at;
    at.channel = i % c;
    i /= c;
    at.column = i % w;
    i /= w;
    at.row = i % h;
    at.image = i / h;
    return at;
}

// The first window of one direction that holds pixel i, and the end of those that do.
DEVICE int first_window(int i, int kernel, int stride, int padding) {
    int beyond = i + padding - kernel + 1;
    return beyond <= 0 ? 0 : (beyond + stride - 1) / stride;
}
DEVICE int end_window(int i, int stride, int padding, int windows) {
    int last = (i + padding) / stride + 1;
    return last < windows ? last : windows;
}

// Of V channels the greatest values and their taps; of equal values the first counts, and a NaN is greater than all.
template <typename T, int V> DEVICE void max_pool(const T *x, Window s, T *y, unsigned char *taps) {
    int packs = s.c / V;
    FOR_EACH_INDEX(i, (long long)s.n * s.oh * s.ow * packs) {
        Place at = place(i, s.oh, s.ow, packs);
        float best[V] = {};
        Pack<unsigned char, V> tap = {};
        bool begun = false;
        for (int a = 0; a < s.kh; a++)
            for (int b = 0; b < s.kw; b++) {
                int row = at.row * s.sh - s.ph + a, column = at.column * s.sw - s.pw + b;
                if (row < 0 || row >= s.h || column < 0 || column >= s.w) continue;
                float values[V];
                load<T, V>(x + ((at.image * s.h + row) * s.w + column) * s.c + at.channel * V, values);
#pragma unroll
                for (int v = 0; v < V; v++) {
                    float value = values[v];
                    if (!begun || value > best[v] || (value != value && best[v] == best[v]))
                        best[v] = value, tap.at[v] = (unsigned char)(a * s.kw + b);
                }
                begun = true;
            }
        store<T, V>(best, y + i * V);
        *reinterpret_cast<Pack<unsigned char, V> *>(taps + i * V) = tap;
    }
}

template <typename T, int V>
DEVICE void max_pool_backward(const T *dy, const unsigned char *taps, Window s, T *dx) {
    int packs = s.c / V;
    FOR_EACH_INDEX(i, (long long)s.n * s.h * s.w * packs) {
        Place at = place(i, s.h, s.w, packs);
        float sum[V] = {};
        int rows = end_window(at.row, s.sh, s.ph, s.oh), columns = end_window(at.column, s.sw, s.pw, s.ow);
        for (int a = first_window(at.row, s.kh, s.sh, s.ph); a < rows; a++)
            for (int b = first_window(at.column, s.kw, s.sw, s.pw); b < columns; b++) {
                long long from = ((at.image * s.oh + a) * s.ow + b) * s.c + at.channel * V;
                int tap = (at.row + s.ph - a * s.sh) * s.kw + at.column + s.pw - b * s.sw;
                Pack<unsigned char, V> taken = *reinterpret_cast<const Pack<unsigned char, V> *>(taps + from);
                float g[V];
                load<T, V>(dy + from, g);
#pragma unroll
                for (int v = 0; v < V; v++)
                    if (taken.at[v] == tap) sum[v] += g[v];
            }
        store<T, V>(sum, dx + i * V);
    }
}

// Pixels of one direction that window o covers; the border does not count.
DEVICE int covered(int o, int kernel, int stride, int padding, int size) {
    int begin = o * stride - padding, end = begin + kernel;
    return (end < size ? end : size) - (begin > 0 ? begin : 0);
}

template <typename T, int V> DEVICE void average_pool(const T *x, Window s, T *y) {
    int packs = s.c / V;
    FOR_EACH_INDEX(i, (long long)s.n * s.oh * s.ow * packs) {
        Place at = place(i, s.oh, s.ow, packs);
        float sum[V] = {};
        for (int a = 0; a < s.kh; a++)
            for (int b = 0; b < s.kw; b++) {
                int row = at.row * s.sh - s.ph + a, column = at.column * s.sw - s.pw + b;
                if (row < 0 || row >= s.h || column < 0 || column >= s.w) continue;
                float values[V];
                load<T, V>(x + ((at.image * s.h + row) * s.w + column) * s.c + at.channel * V, values);
#pragma unroll
                for (int v = 0; v < V; v++) sum[v] += values[v];
            }
        float pixels = (float)(covered(at.row, s.kh, s.sh, s.ph, s.h) * covered(at.column, s.kw, s.sw, s.pw, s.w));
#pragma unroll
        for (int v = 0; v < V; v++) sum[v] /= pixels;
        store<T, V>(sum, y + i * V);
    }
}

template <typename T, int V> DEVICE void average_pool_backward(const T *dy, Window s, T *dx) {
    int packs = s.c / V;
    FOR_EACH_INDEX(i, (long long)s.n * s.h * s.w * packs) {
        Place at = place(i, s.h, s.w, packs);
        float sum[V] = {};
        int rows = end_window(at.row, s.sh, s.ph, s.oh), columns = end_window(at.column, s.sw, s.pw, s.ow);
        for (int a = first_window(at.row, s.kh, s.sh, s.ph); a < rows; a++)
            for (int b = first_window(at.column, s.kw, s.sw, s.pw); b < columns; b++) {
                float pixels = (float)(covered(a, s.kh, s.sh, s.ph, s.h) * covered(b, s.kw, s.sw, s.pw, s.w)), g[V];
                load<T, V>(dy + ((at.image * s.oh + a) * s.ow + b) * s.c + at.channel * V, g);
#pragma unroll
                for (int v = 0; v < V; v++) sum[v] += g[v] / pixels;
            }
        store<T, V>(sum, dx + i * V);
    }
}

// The mean over all pixels: one block for `group` channels of the image blockIdx.y.
template <typename T> DEVICE void pixel_mean(const T *x, int pixels, int channels, int group, T *y) {
    __shared__ float sums[THREADS];
    unsigned t = threadIdx.x % group, lane = threadIdx.x / group, lanes = THREADS / group;
    int c = (int)(blockIdx.x * group + t);
    float sum = 0.f;
    if (c < channels)
        for (int p = (int)lane; p < pixels; p += (int)lanes) sum += widen(x[((long long)blockIdx.y * pixels + p) * channels + c]);
    sums[threadIdx.x] = sum;
    for (unsigned half = lanes / 2; half > 0; half /= 2) {
        __syncthreads();
        if (lane < half) sums[threadIdx.x] += sums[threadIdx.x + half * group];
    }
    if (lane == 0 && c < channels) narrow(sums[threadIdx.x] / pixels, y[(long long)blockIdx.y * channels + c]);
}

template <typename T> DEVICE void pixel_mean_backward(const T *dy, int n, int pixels, int channels, T *dx) {
    FOR_EACH_INDEX(i, (long long)n * pixels * channels) {
        long long image = i / ((unsigned)pixels * channels);
        narrow(widen(dy[image * channels + i % channels]) / pixels, dx[i]);
    }
}

#define WINDOWS(T, name, V)                                                                                            \
    KERNEL(max_pool_##name##_##V, (const T *x, Window s, T *y, unsigned char *taps)) {                                 \
        max_pool<T, V>(x, s, y, taps);                                                                                 \
    }                                                                                                                  \
    KERNEL(max_pool_backward_##name##_##V, (const T *dy, const unsigned char *taps, Window s, T *dx)) {                \
        max_pool_backward<T, V>(dy, taps, s, dx);                                                                      \
    }                                                                                                                  \
    KERNEL(average_pool_##name##_##V, (const T *x, Window s, T *y)) { average_pool<T, V>(x, s, y); }                   \
    KERNEL(average_pool_backward_##name##_##V, (const T *dy, Window s, T *dx)) {                                       \
        average_pool_backward<T, V>(dy, s, dx);                                                                        \
    }
FOR_EACH_PACK(WINDOWS)

#define PIXEL_MEAN(T, name)                                                                                            \
    KERNEL(pixel_mean_##name, (const T *x, int pixels, int channels, int group, T *y)) {                               \
        pixel_mean<T>(x, pixels, channels, group, y);                                                                  \
    }                                                                                                                  \
    KERNEL(pixel_mean_backward_##name, (const T *dy, int n, int pixels, int channels, T *dx)) {                        \
        pixel_mean_backward<T>(dy, n, pixels, channels, dx);                                                           \
    }
FOR_EACH_TYPE(PIXEL_MEAN)

// Addition, ReLU, bias, and the shortcut that subsamples and adds zero channels (He et al. 2015, option A).
#include "common.cuh"

// a + b, rectified or not; without b the ReLU alone. `y` may be `a`.
template <typename T, int V> DEVICE void add(const T *a, const T *b, unsigned count, int relu, T *y) {
    FOR_EACH_INDEX(i, count / V) {
        float sum[V], other[V];
        load<T, V>(a + i * V, sum);
        if (b) load<T, V>(b + i * V, other);
#pragma unroll
        for (int v = 0; v < V; v++) {
            if (b) sum[v] += other[v];
            if (relu && sum[v] <= 0.f) sum[v] = 0.f;
        }
        store<T, V>(sum, y + i * V);
    }
}

// The gradient before a ReLU whose result is y.
template <typename T, int V> DEVICE void relu_backward(const T *dy, const T *y, unsigned count, T *dx) {
    FOR_EACH_INDEX(i, count / V) {
        float g[V], result[V];
        load<T, V>(dy + i * V, g);
        load<T, V>(y + i * V, result);
#pragma unroll
        for (int v = 0; v < V; v++)
            if (result[v] <= 0.f) g[v] = 0.f;
        store<T, V>(g, dx + i * V);
    }
}

#define ADD(T, name, V)                                                                                                \
    KERNEL(add_##name##_##V, (const T *a, const T *b, unsigned count, int relu, T *y)) {                              \
        add<T, V>(a, b, count, relu, y);                                                                               \
    }                                                                                                                  \
    KERNEL(relu_backward_##name##_##V, (const T *dy, const T *y, unsigned count, T *dx)) {                            \
        relu_backward<T, V>(dy, y, count, dx);                                                                         \
    }
FOR_EACH_PACK(ADD)

template <typename T> DEVICE void add_bias(T *x, const float *bias, unsigned count, int channels) {
    FOR_EACH_INDEX(i, count) narrow(widen(x[i]) + bias[i % channels], x[i]);
}

// Sums over pixels: one block a channel.
template <typename T> DEVICE void bias_gradient(const T *dy, int pixels, int channels, float *out) {
    __shared__ float sums[THREADS];
    float sum = 0.f;
    for (long long p = threadIdx.x; p < pixels; p += THREADS) sum += widen(dy[p * channels + blockIdx.x]);
    sums[threadIdx.x] = sum;
    for (unsigned half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    if (threadIdx.x == 0) out[blockIdx.x] = sums[0];
}

// y (n, oh, ow, oc) from every stride-th row and column of x (n, h, w, c), with `before` zero channels in front.
template <typename T>
DEVICE void shortcut(const T *x, int n, int h, int w, int c, int oh, int ow, int oc, int sh, int sw, int before, T *y) {
    FOR_EACH_INDEX(i, (long long)n * oh * ow * oc) {
        int channel = i % oc - before;
        unsigned rest = i / oc;
        int column = rest % ow;
        rest /= ow;
        int row = rest % oh;
        long long image = rest / oh;
        float value = 0.f;
        if (channel >= 0 && channel < c) value = widen(x[((image * h + row * sh) * w + column * sw) * c + channel]);
        narrow(value, y[i]);
    }
}

template <typename T>
DEVICE void shortcut_backward(const T *dy, int n, int h, int w, int c, int oh, int ow, int oc, int sh, int sw,
                              int before, T *dx) {
    FOR_EACH_INDEX(i, (long long)n * h * w * c) {
        int channel = i % c + before;
        unsigned rest = i / c;
        int column = rest % w;
        rest /= w;
        int row = rest % h;
        long long image = rest / h;
        float value = 0.f;
        if (row % sh == 0 && column % sw == 0 && channel >= 0 && channel < oc)
            value = widen(dy[((image * oh + row / sh) * ow + column / sw) * oc + channel]);
        narrow(value, dx[i]);
    }
}

#define ELEMENTWISE(T, name)                                                                                           \
    KERNEL(add_bias_##name, (T * x, const float *bias, unsigned count, int channels)) {                               \
        add_bias<T>(x, bias, count, channels);                                                                         \
    }                                                                                                                  \
    KERNEL(bias_gradient_##name, (const T *dy, int pixels, int channels, float *out)) {                                \
        bias_gradient<T>(dy, pixels, channels, out);                                                                   \
    }                                                                                                                  \
    KERNEL(shortcut_##name, (const T *x, int n, int h, int w, int c, int oh, int ow, int oc, int sh, int sw,           \
                             int before, T *y)) {                                                                      \
        shortcut<T>(x, n, h, w, c, oh, ow, oc, sh, sw, before, y);                                                     \
    }                                                                                                                  \
    KERNEL(shortcut_backward_##name, (const T *dy, int n, int h, int w, int c, int oh, int ow, int oc, int sh, int sw, \
                                      int before, T *dx)) {                                                            \
        shortcut_backward<T>(dy, n, h, w, c, oh, ow, oc, sh, sw, before, dx);                                          \
    }
FOR_EACH_TYPE(ELEMENTWISE)

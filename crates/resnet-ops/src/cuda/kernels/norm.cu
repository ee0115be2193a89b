// Batch norm over channels-last maps (Ioffe & Szegedy 2015), forwards and backwards, with the addition and the ReLU
// that follow it in a residual block.
//
// Sums over pixels: a block holds `group` threads side by side, each with V channels, and THREADS / group lanes of
// pixels; gridDim.y blocks share the pixels, and write one row of partial results each. `group` is a power of two.
#include "common.cuh"

// Count, mean and sum of squared differences of two parts (Chan et al. 1979).
DEVICE void merge(float &n, float &mean, float &m2, float n2, float mean2, float m22) {
    float total = n + n2;
    if (total == 0.f) return;
    float delta = mean2 - mean, share = n2 / total;
    mean += delta * share;
    m2 += m22 + delta * delta * n * share;
    n = total;
}

template <typename T, int V> DEVICE void norm_moments(const T *x, int pixels, int channels, int group, float *partial) {
    __shared__ float means[THREADS * V], squares[THREADS * V], counts[THREADS];
    unsigned t = threadIdx.x % group, lane = threadIdx.x / group, lanes = THREADS / group;
    int c = (int)(blockIdx.x * group + t) * V, rows = (int)gridDim.y;
    bool inside = c < channels;
    float first[V] = {}, sum[V] = {}, square[V] = {}, n = 0.f;
    long long begin = (long long)blockIdx.y * lanes + lane;
    if (inside && begin < pixels) {
        // Differences to the first value: squares of the values themselves would cancel.
        load<T, V>(x + begin * channels + c, first);
        // Four pixels under way at once: one would leave a device's memory waiting.
#pragma unroll 4
        for (long long p = begin; p < pixels; p += (long long)rows * lanes) {
            float values[V];
            load<T, V>(x + p * channels + c, values);
#pragma unroll
            for (int v = 0; v < V; v++) {
                float d = values[v] - first[v];
                sum[v] += d;
                square[v] = fmaf(d, d, square[v]);
            }
            n += 1.f;
        }
    }
    float mean[V], m2[V];
#pragma unroll
    for (int v = 0; v < V; v++) {
        float d = n > 0.f ? sum[v] / n : 0.f;
        mean[v] = first[v] + d;
        m2[v] = fmaxf(square[v] - sum[v] * d, 0.f);
        means[threadIdx.x * V + v] = mean[v];
        squares[threadIdx.x * V + v] = m2[v];
    }
    counts[threadIdx.x] = n;
    for (unsigned half = lanes / 2; half > 0; half /= 2) {
        __syncthreads();
        if (lane < half) {
            int other = threadIdx.x + half * group;
            float total = n;
#pragma unroll
            for (int v = 0; v < V; v++) {
                total = n;
                merge(total, mean[v], m2[v], counts[other], means[other * V + v], squares[other * V + v]);
            }
            n = total;
        }
        __syncthreads();
        if (lane < half) {
#pragma unroll
            for (int v = 0; v < V; v++) {
                means[threadIdx.x * V + v] = mean[v];
                squares[threadIdx.x * V + v] = m2[v];
            }
            counts[threadIdx.x] = n;
        }
    }
    if (inside && lane == 0) {
        long long size = (long long)rows * channels;
#pragma unroll
        for (int v = 0; v < V; v++) {
            partial[(long long)blockIdx.y * channels + c + v] = n;
            partial[size + (long long)blockIdx.y * channels + c + v] = mean[v];
            partial[2 * size + (long long)blockIdx.y * channels + c + v] = m2[v];
        }
    }
}

// 2 channels and 128 lanes of partial rows a block: with 8 channels a lane waits for 33 rows, one after the other.
constexpr int FINISH_CHANNELS = 2, FINISH_LANES = THREADS / FINISH_CHANNELS;

// From partial moments to scale and shift; running statistics are updated in place, the variance as the unbiased one.
KERNEL(norm_finish, (const float *partial, int rows, int channels, const float *weight, const float *bias,
                     float *running_mean, float *running_var, float momentum, float eps, float *mean_out,
                     float *inverse_out, float *scale, float *shift)) {
    __shared__ float means[THREADS], squares[THREADS], counts[THREADS];
    int c = blockIdx.x * FINISH_CHANNELS + (int)threadIdx.x % FINISH_CHANNELS;
    unsigned lane = threadIdx.x / FINISH_CHANNELS;
    float n = 0.f, mean = 0.f, m2 = 0.f;
    if (c < channels) {
        long long size = (long long)rows * channels;
        for (int r = (int)lane; r < rows; r += FINISH_LANES) {
            long long at = (long long)r * channels + c;
            merge(n, mean, m2, partial[at], partial[size + at], partial[2 * size + at]);
        }
    }
    means[threadIdx.x] = mean, squares[threadIdx.x] = m2, counts[threadIdx.x] = n;
    for (unsigned half = FINISH_LANES / 2; half > 0; half /= 2) {
        __syncthreads();
        if (lane < half) {
            int other = threadIdx.x + half * FINISH_CHANNELS;
            merge(n, mean, m2, counts[other], means[other], squares[other]);
        }
        __syncthreads();
        if (lane < half) means[threadIdx.x] = mean, squares[threadIdx.x] = m2, counts[threadIdx.x] = n;
    }
    if (lane == 0 && c < channels) {
        float inverse = 1.f / sqrtf(m2 / n + eps), factor = weight ? weight[c] * inverse : inverse;
        mean_out[c] = mean;
        inverse_out[c] = inverse;
        scale[c] = factor;
        shift[c] = (bias ? bias[c] : 0.f) - mean * factor;
        if (momentum != 0.f) {
            running_mean[c] = (1.f - momentum) * running_mean[c] + momentum * mean;
            running_var[c] = (1.f - momentum) * running_var[c] + momentum * (m2 / (n - 1.f));
        }
    }
}

// Scale and shift by the running statistics.
KERNEL(norm_constant, (const float *running_mean, const float *running_var, int channels, const float *weight,
                       const float *bias, float eps, float *mean_out, float *inverse_out, float *scale, float *shift)) {
    FOR_EACH_INDEX(c, channels) {
        float inverse = 1.f / sqrtf(running_var[c] + eps), factor = weight ? weight[c] * inverse : inverse;
        mean_out[c] = running_mean[c];
        inverse_out[c] = inverse;
        scale[c] = factor;
        shift[c] = (bias ? bias[c] : 0.f) - running_mean[c] * factor;
    }
}

// Whether a thread that strides over a map meets the same channels every time, so that it reads their factors once.
DEVICE bool keeps_channels(unsigned packs) { return gridDim.x * blockDim.x % packs == 0; }

// y = x · scale + shift (+ residual), rectified or not.
template <typename T, int V>
DEVICE void norm_apply(const T *x, const T *residual, unsigned count, int channels, const float *scale,
                       const float *shift, int relu, T *y) {
    unsigned packs = channels / V;
    float by[V], plus[V];
    bool known = false, keeps = keeps_channels(packs);
    FOR_EACH_INDEX(i, count / V) {
        if (!known) {
            int c = i % packs * V;
            load<float, V>(scale + c, by);
            load<float, V>(shift + c, plus);
            known = keeps;
        }
        float values[V], added[V];
        load<T, V>(x + i * V, values);
        if (residual) load<T, V>(residual + i * V, added);
#pragma unroll
        for (int v = 0; v < V; v++) {
            float value = fmaf(values[v], by[v], plus[v]);
            if (residual) value += added[v];
            values[v] = relu && value <= 0.f ? 0.f : value;
        }
        store<T, V>(values, y + i * V);
    }
}

// The gradient before the ReLU. Where there is a residual, the result y tells what the ReLU let pass, else x does.
template <typename T, int V>
DEVICE void rectify(const float (&x)[V], const T *y, const float (&scale)[V], const float (&shift)[V], float (&g)[V]) {
    float results[V];
    if (y) load<T, V>(y, results);
#pragma unroll
    for (int v = 0; v < V; v++) {
        float value = y ? results[v] : fmaf(x[v], scale[v], shift[v]);
        if (value <= 0.f) g[v] = 0.f;
    }
}

// Partial sums of g and g · (x − mean); g itself goes to `rectified` where that is given.
template <typename T, int V>
DEVICE void norm_backward_sums(const T *dy, const T *y, const T *x, const float *mean, const float *scale,
                               const float *shift, int relu, int pixels, int channels, int group, T *rectified,
                               float *partial) {
    __shared__ float sums[THREADS * V], products[THREADS * V];
    unsigned t = threadIdx.x % group, lane = threadIdx.x / group, lanes = THREADS / group;
    int c = (int)(blockIdx.x * group + t) * V, rows = (int)gridDim.y;
    bool inside = c < channels;
    float sum[V] = {}, product[V] = {};
    if (inside) {
        // Read before the loop: the compiler cannot know that what is stored there is something else.
        float centre[V], by[V], plus[V];
        load<float, V>(mean + c, centre);
        load<float, V>(scale + c, by);
        load<float, V>(shift + c, plus);
        for (long long p = (long long)blockIdx.y * lanes + lane; p < pixels; p += (long long)rows * lanes) {
            long long at = p * channels + c;
            float g[V], values[V];
            load<T, V>(dy + at, g);
            load<T, V>(x + at, values);
            if (relu) rectify<T, V>(values, y ? y + at : nullptr, by, plus, g);
            if (rectified) store<T, V>(g, rectified + at);
#pragma unroll
            for (int v = 0; v < V; v++) {
                sum[v] += g[v];
                product[v] = fmaf(g[v], values[v] - centre[v], product[v]);
            }
        }
    }
#pragma unroll
    for (int v = 0; v < V; v++) sums[threadIdx.x * V + v] = sum[v], products[threadIdx.x * V + v] = product[v];
    for (unsigned half = lanes / 2; half > 0; half /= 2) {
        __syncthreads();
        if (lane < half) {
            int other = threadIdx.x + half * group;
#pragma unroll
            for (int v = 0; v < V; v++) {
                sums[threadIdx.x * V + v] += sums[other * V + v];
                products[threadIdx.x * V + v] += products[other * V + v];
            }
        }
    }
    if (inside && lane == 0) {
        long long size = (long long)rows * channels;
#pragma unroll
        for (int v = 0; v < V; v++) {
            partial[(long long)blockIdx.y * channels + c + v] = sums[threadIdx.x * V + v];
            partial[size + (long long)blockIdx.y * channels + c + v] = products[threadIdx.x * V + v];
        }
    }
}

// From partial sums to the parameters' gradients and to dx = scale · g + slope · (x − mean) + offset. With running
// statistics (`count` 0) the mean and the variance are constants: slope and offset are 0.
KERNEL(norm_backward_finish, (const float *partial, int rows, int channels, float count, const float *inverse,
                              const float *scale, float *dweight, float *dbias, float *slope, float *offset)) {
    __shared__ float sums[THREADS], products[THREADS];
    int c = blockIdx.x * FINISH_CHANNELS + (int)threadIdx.x % FINISH_CHANNELS;
    unsigned lane = threadIdx.x / FINISH_CHANNELS;
    float sum = 0.f, product = 0.f;
    if (c < channels) {
        long long size = (long long)rows * channels;
        for (int r = (int)lane; r < rows; r += FINISH_LANES) {
            sum += partial[(long long)r * channels + c];
            product += partial[size + (long long)r * channels + c];
        }
    }
    sums[threadIdx.x] = sum, products[threadIdx.x] = product;
    for (unsigned half = FINISH_LANES / 2; half > 0; half /= 2) {
        __syncthreads();
        if (lane < half) {
            sums[threadIdx.x] += sums[threadIdx.x + half * FINISH_CHANNELS];
            products[threadIdx.x] += products[threadIdx.x + half * FINISH_CHANNELS];
        }
    }
    if (lane == 0 && c < channels) {
        sum = sums[threadIdx.x], product = products[threadIdx.x];
        dweight[c] = product * inverse[c];
        dbias[c] = sum;
        slope[c] = count > 0.f ? -scale[c] * inverse[c] * inverse[c] * (product / count) : 0.f;
        offset[c] = count > 0.f ? -scale[c] * (sum / count) : 0.f;
    }
}

template <typename T, int V>
DEVICE void norm_backward_apply(const T *dy, const T *x, const float *mean, const float *scale, const float *shift,
                                int relu, const float *slope, const float *offset, unsigned count, int channels,
                                T *dx) {
    unsigned packs = channels / V;
    float centre[V], by[V], plus[V], steep[V], up[V];
    bool known = false, keeps = keeps_channels(packs);
    FOR_EACH_INDEX(i, count / V) {
        if (!known) {
            int c = i % packs * V;
            load<float, V>(mean + c, centre);
            load<float, V>(scale + c, by);
            load<float, V>(shift + c, plus);
            load<float, V>(slope + c, steep);
            load<float, V>(offset + c, up);
            known = keeps;
        }
        float g[V], values[V];
        load<T, V>(dy + i * V, g);
        load<T, V>(x + i * V, values);
        if (relu) rectify<T, V>(values, nullptr, by, plus, g);
#pragma unroll
        for (int v = 0; v < V; v++) g[v] = fmaf(by[v], g[v], fmaf(steep[v], values[v] - centre[v], up[v]));
        store<T, V>(g, dx + i * V);
    }
}

#define NORM(T, name, V)                                                                                               \
    KERNEL(norm_moments_##name##_##V, (const T *x, int pixels, int channels, int group, float *partial)) {             \
        norm_moments<T, V>(x, pixels, channels, group, partial);                                                       \
    }                                                                                                                  \
    KERNEL(norm_apply_##name##_##V, (const T *x, const T *residual, unsigned count, int channels, const float *scale, \
                                     const float *shift, int relu, T *y)) {                                            \
        norm_apply<T, V>(x, residual, count, channels, scale, shift, relu, y);                                         \
    }                                                                                                                  \
    KERNEL(norm_backward_sums_##name##_##V,                                                                            \
           (const T *dy, const T *y, const T *x, const float *mean, const float *scale, const float *shift, int relu,  \
            int pixels, int channels, int group, T *rectified, float *partial)) {                                      \
        norm_backward_sums<T, V>(dy, y, x, mean, scale, shift, relu, pixels, channels, group, rectified, partial);     \
    }                                                                                                                  \
    KERNEL(norm_backward_apply_##name##_##V,                                                                           \
           (const T *dy, const T *x, const float *mean, const float *scale, const float *shift, int relu,              \
            const float *slope, const float *offset, unsigned count, int channels, T *dx)) {                          \
        norm_backward_apply<T, V>(dy, x, mean, scale, shift, relu, slope, offset, count, channels, dx);                \
    }
FOR_EACH_PACK(NORM)

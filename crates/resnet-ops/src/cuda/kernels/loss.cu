// Softmax cross-entropy with label smoothing (Szegedy et al. 2015, section 7) on f32 logits (n, classes).
#include "common.cuh"

// One block an image: its loss, and the gradient of that loss. Targets are labels, or probabilities where those are
// given. A label that is no class makes the loss NaN: nothing here can stop the program.
KERNEL(cross_entropy, (const float *logits, const unsigned *labels, const float *targets, int classes, float smoothing,
                       float *losses, float *gradient)) {
    __shared__ float maxima[THREADS], sums[THREADS], dots[THREADS], weights[THREADS];
    const float *x = logits + (long long)blockIdx.x * classes;
    const float *soft = targets ? targets + (long long)blockIdx.x * classes : nullptr;
    unsigned label = labels ? labels[blockIdx.x] : 0u;
    float greatest = -INFINITY;
    for (int c = (int)threadIdx.x; c < classes; c += THREADS) greatest = fmaxf(greatest, x[c]);
    maxima[threadIdx.x] = greatest;
    for (unsigned half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) maxima[threadIdx.x] = fmaxf(maxima[threadIdx.x], maxima[threadIdx.x + half]);
    }
    __syncthreads();
    greatest = maxima[0];
    float even = smoothing / classes, sum = 0.f, dot = 0.f, weight = 0.f;
    for (int c = (int)threadIdx.x; c < classes; c += THREADS) {
        float q = (1.f - smoothing) * (soft ? soft[c] : ((unsigned)c == label ? 1.f : 0.f)) + even, d = x[c] - greatest;
        sum += expf(d);
        // A class without probability adds nothing, be its logit -inf.
        if (q != 0.f) dot = fmaf(q, d, dot);
        weight += q;
    }
    sums[threadIdx.x] = sum, dots[threadIdx.x] = dot, weights[threadIdx.x] = weight;
    for (unsigned half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) {
            sums[threadIdx.x] += sums[threadIdx.x + half];
            dots[threadIdx.x] += dots[threadIdx.x + half];
            weights[threadIdx.x] += weights[threadIdx.x + half];
        }
    }
    __syncthreads();
    sum = sums[0], weight = weights[0];
    for (int c = (int)threadIdx.x; c < classes; c += THREADS) {
        float q = (1.f - smoothing) * (soft ? soft[c] : ((unsigned)c == label ? 1.f : 0.f)) + even;
        gradient[(long long)blockIdx.x * classes + c] = expf(x[c] - greatest) / sum * weight - q;
    }
    if (threadIdx.x == 0) losses[blockIdx.x] = labels && label >= (unsigned)classes ? NAN : weight * logf(sum) - dots[0];
}

// The mean of n values, by one block.
KERNEL(mean, (const float *values, int n, float *out)) {
    __shared__ float sums[THREADS];
    float sum = 0.f;
    for (int i = (int)threadIdx.x; i < n; i += THREADS) sum += values[i];
    sums[threadIdx.x] = sum;
    for (unsigned half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    if (threadIdx.x == 0) out[0] = sums[0] / n;
}

// values · factor · the one value at `by`, which is read on the device: the host does not wait for it.
KERNEL(scale_by, (const float *values, const float *by, float factor, unsigned count, float *out)) {
    FOR_EACH_INDEX(i, count) out[i] = values[i] * (factor * by[0]);
}

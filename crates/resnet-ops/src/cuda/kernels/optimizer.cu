// SGD with momentum and weight decay for many tensors in one launch. Each block works on one chunk of one tensor; a
// table on the device says which (Rust: multi_tensor.rs).
#include "common.cuh"

struct Chunk {
    float *parameter;
    const float *gradient;
    // Null without momentum.
    float *velocity;
    float rate, decay;
    int count, first;
};

// PyTorch's formula: g += decay · p, v = momentum · v + g (the first step: v = g), p -= rate · (nesterov ? g + momentum · v : v).
KERNEL(sgd, (const Chunk *table, float scale, float momentum, int nesterov)) {
    Chunk chunk = table[blockIdx.x];
    // Three different tensors: four values at a time are under way.
    float *__restrict__ parameter = chunk.parameter, *__restrict__ velocity = chunk.velocity;
    const float *__restrict__ gradient = chunk.gradient;
#pragma unroll 4
    for (int i = (int)threadIdx.x; i < chunk.count; i += THREADS) {
        float p = parameter[i], g = gradient[i] * scale + chunk.decay * p, update = g;
        if (velocity) {
            float v = chunk.first ? g : momentum * velocity[i] + g;
            velocity[i] = v;
            update = nesterov ? g + momentum * v : v;
        }
        parameter[i] = p - chunk.rate * update;
    }
}

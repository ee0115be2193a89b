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
    for (int i = (int)threadIdx.x; i < chunk.count; i += THREADS) {
        float p = chunk.parameter[i], g = chunk.gradient[i] * scale + chunk.decay * p, update = g;
        if (chunk.velocity) {
            float v = chunk.first ? g : momentum * chunk.velocity[i] + g;
            chunk.velocity[i] = v;
            update = nesterov ? g + momentum * v : v;
        }
        chunk.parameter[i] = p - chunk.rate * update;
    }
}

// The machine that emulation.h describes, and its entry point.
#include "emulation.h"

namespace emulation {
thread_local Dim thread_index, block_index, block_size, grid_size;

namespace {
std::map<std::string, Call> &kernels() {
    static std::map<std::string, Call> all;
    return all;
}

struct Coroutine {
    ucontext_t context;
    std::vector<char> stack;
    bool done;
};

thread_local std::vector<Coroutine> coroutines;
thread_local ucontext_t scheduler;
thread_local unsigned running;
thread_local Call current;
thread_local void **current_arguments;

void body() {
    current(current_arguments);
    coroutines[running].done = true;
    swapcontext(&coroutines[running].context, &scheduler);
}
} // namespace

int add(const char *name, Call call) {
    kernels()[name] = call;
    return 0;
}

void barrier() { swapcontext(&coroutines[running].context, &scheduler); }

static void block(bool backwards) {
    unsigned threads = block_size.x;
    for (unsigned t = 0; t < threads; t++) {
        Coroutine &c = coroutines[t];
        c.done = false;
        getcontext(&c.context);
        c.context.uc_stack.ss_sp = c.stack.data();
        c.context.uc_stack.ss_size = c.stack.size();
        c.context.uc_link = nullptr;
        makecontext(&c.context, body, 0);
    }
    for (bool any = true; any;) {
        any = false;
        for (unsigned i = 0; i < threads; i++) {
            unsigned t = backwards ? threads - 1 - i : i;
            if (coroutines[t].done) continue;
            any = true;
            running = t;
            thread_index = {t, 0, 0};
            swapcontext(&scheduler, &coroutines[t].context);
        }
    }
}
} // namespace emulation

// Runs a kernel by name; 1 where there is none of that name.
extern "C" int emulate(const char *name, unsigned grid_x, unsigned grid_y, unsigned threads, void **arguments, int backwards) {
    using namespace emulation;
    auto found = kernels().find(name);
    if (found == kernels().end()) return 1;
    current = found->second;
    current_arguments = arguments;
    grid_size = {grid_x, grid_y, 1};
    block_size = {threads, 1, 1};
    if (coroutines.size() < threads) coroutines.resize(threads);
    for (auto &c : coroutines)
        if (c.stack.empty()) c.stack.resize(64 * 1024);
    for (unsigned y = 0; y < grid_y; y++)
        for (unsigned x = 0; x < grid_x; x++) {
            block_index = {x, y, 0};
            block(backwards != 0);
        }
    return 0;
}

// Convolution as it is written down, one thread a result: for shapes that cuDNN has no algorithm for, for builds without
// cuDNN, and as the device's own reference for cuDNN. Maps are channels-last, weights (O, kh, kw, C / groups).
#include "common.cuh"

struct Conv {
    int n, h, w, c, o, kh, kw, oh, ow, sh, sw, ph, pw, dh, dw, groups;
};

template <typename T> DEVICE void conv_forward(const T *x, const T *weight, Conv s, T *y) {
    int cg = s.c / s.groups, og = s.o / s.groups;
    FOR_EACH_INDEX(i, (long long)s.n * s.oh * s.ow * s.o) {
        int o = i % s.o;
        unsigned rest = i / s.o;
        int column = rest % s.ow;
        rest /= s.ow;
        int row = rest % s.oh;
        long long image = rest / s.oh;
        float sum = 0.f;
        for (int a = 0; a < s.kh; a++)
            for (int b = 0; b < s.kw; b++) {
                int p = row * s.sh - s.ph + a * s.dh, q = column * s.sw - s.pw + b * s.dw;
                if (p < 0 || p >= s.h || q < 0 || q >= s.w) continue;
                const T *from = x + ((image * s.h + p) * s.w + q) * s.c + o / og * cg;
                const T *w = weight + (((long long)o * s.kh + a) * s.kw + b) * cg;
                for (int c = 0; c < cg; c++) sum = fmaf(widen(from[c]), widen(w[c]), sum);
            }
        narrow(sum, y[i]);
    }
}

template <typename T> DEVICE void conv_backward_data(const T *weight, const T *dy, Conv s, T *dx) {
    int cg = s.c / s.groups, og = s.o / s.groups;
    FOR_EACH_INDEX(i, (long long)s.n * s.h * s.w * s.c) {
        int c = i % s.c;
        unsigned rest = i / s.c;
        int column = rest % s.w;
        rest /= s.w;
        int row = rest % s.h;
        long long image = rest / s.h;
        int group = c / cg;
        float sum = 0.f;
        for (int a = 0; a < s.kh; a++)
            for (int b = 0; b < s.kw; b++) {
                int p = row + s.ph - a * s.dh, q = column + s.pw - b * s.dw;
                if (p < 0 || q < 0 || p % s.sh || q % s.sw || p / s.sh >= s.oh || q / s.sw >= s.ow) continue;
                const T *from = dy + ((image * s.oh + p / s.sh) * s.ow + q / s.sw) * s.o + group * og;
                for (int o = 0; o < og; o++)
                    sum = fmaf(widen(from[o]),
                               widen(weight[(((long long)(group * og + o) * s.kh + a) * s.kw + b) * cg + c % cg]), sum);
            }
        narrow(sum, dx[i]);
    }
}

template <typename T> DEVICE void conv_backward_filter(const T *x, const T *dy, Conv s, T *dweight) {
    int cg = s.c / s.groups, og = s.o / s.groups;
    FOR_EACH_INDEX(i, (long long)s.o * s.kh * s.kw * cg) {
        int c = i % cg;
        unsigned rest = i / cg;
        int b = rest % s.kw;
        rest /= s.kw;
        int a = rest % s.kh;
        int o = rest / s.kh;
        float sum = 0.f;
        for (int image = 0; image < s.n; image++)
            for (int row = 0; row < s.oh; row++)
                for (int column = 0; column < s.ow; column++) {
                    int p = row * s.sh - s.ph + a * s.dh, q = column * s.sw - s.pw + b * s.dw;
                    if (p < 0 || p >= s.h || q < 0 || q >= s.w) continue;
                    sum = fmaf(widen(x[(((long long)image * s.h + p) * s.w + q) * s.c + o / og * cg + c]),
                               widen(dy[(((long long)image * s.oh + row) * s.ow + column) * s.o + o]), sum);
                }
        narrow(sum, dweight[i]);
    }
}

#define CONV(T, name)                                                                                                  \
    KERNEL(conv_forward_##name, (const T *x, const T *weight, Conv s, T *y)) {                         \
        conv_forward<T>(x, weight, s, y);                                                                  \
    }                                                                                                                  \
    KERNEL(conv_backward_data_##name, (const T *weight, const T *dy, Conv s, T *dx)) {                 \
        conv_backward_data<T>(weight, dy, s, dx);                                                          \
    }                                                                                                                  \
    KERNEL(conv_backward_filter_##name, (const T *x, const T *dy, Conv s, T *dweight)) {               \
        conv_backward_filter<T>(x, dy, s, dweight);                                                        \
    }
FOR_EACH_TYPE(CONV)

// Images of a data set that lies on the device: bytes (count, height, width, 3) become a normalised batch, cropped out of
// the image with a border around it, mirrored or not.
#include "common.cuh"

// What is seen of one image: its place in the set, the row and column of the crop (negative above and left of the
// image), and whether it is mirrored.
struct View {
    int image, row, column, flip;
};

// Without a mean image: (value − mean) / deviation; with one: (value − its mean) · factor.
struct Channels {
    float mean[3], deviation[3], border[3];
};

// y is channels-last (n, size, size, 3), or (n, 3, size, size) where `planes` is 1. The border holds the given values,
// as they stand in the batch.
template <typename T>
DEVICE void take_images(const unsigned char *pixels, int height, int width, const View *views, int n, int rows,
                        int columns, Channels by, const float *means, int planes, T *y) {
    FOR_EACH_INDEX(i, (long long)n * rows * columns * 3) {
        int c, row, column;
        unsigned rest = i;
        if (planes) {
            column = rest % columns, rest /= columns;
            row = rest % rows, rest /= rows;
            c = rest % 3, rest /= 3;
        } else {
            c = rest % 3, rest /= 3;
            column = rest % columns, rest /= columns;
            row = rest % rows, rest /= rows;
        }
        View view = views[rest];
        int p = view.row + row, q = view.column + (view.flip ? columns - 1 - column : column);
        float value = by.border[c];
        if (p >= 0 && p < height && q >= 0 && q < width) {
            value = (float)pixels[(((long long)view.image * height + p) * width + q) * 3 + c] / 255.f;
            if (means) {
                // Not one operation: the processor's rounding is to be met to the bit.
                value -= means[(c * height + p) * width + q];
                value *= by.deviation[c];
            } else {
                value = (value - by.mean[c]) / by.deviation[c];
            }
        }
        narrow(value, y[i]);
    }
}

#define IMAGES(T, name)                                                                                                \
    KERNEL(take_images_##name, (const unsigned char *pixels, int height, int width, const View *views, int n,          \
                                int rows, int columns, Channels by, const float *means, int planes, T *y)) {                               \
        take_images<T>(pixels, height, width, views, n, rows, columns, by, means, planes, y);                                 \
    }
FOR_EACH_TYPE(IMAGES)

"""What Pillow makes of a small picture with each of RandAugment's operations, into operations.json.

    python operations.py

The calls are those of timm's data/auto_augment.py. Needs: pip install pillow.
"""
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

FILL = (124, 116, 104)
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def picture():
    i = np.arange(11 * 14 * 3)
    return Image.fromarray((((i * i * 7 + i * 31) % 241) // 2 + i % 97).astype(np.uint8).reshape(11, 14, 3))


def affine(image, matrix, how):
    return image.transform(image.size, Image.AFFINE, matrix, resample=how, fillcolor=FILL)


def solarize_add(image, add):
    return image.point([min(255, i + add) if i < 128 else i for i in range(256)] * 3)


def main():
    image, out = picture(), {}
    plain = {
        "autocontrast": ([0], lambda _: ImageOps.autocontrast(image)),
        "equalize": ([0], lambda _: ImageOps.equalize(image)),
        "invert": ([0], lambda _: ImageOps.invert(image)),
        "posterize": ([1, 2, 4], lambda bits: ImageOps.posterize(image, bits)),
        "solarize": ([0, 103, 256], lambda threshold: ImageOps.solarize(image, threshold)),
        "solarize_add": ([66], lambda add: solarize_add(image, add)),
        "color": ([0.1, 0.46, 1.54], lambda f: ImageEnhance.Color(image).enhance(f)),
        "contrast": ([0.1, 0.46, 1.54], lambda f: ImageEnhance.Contrast(image).enhance(f)),
        "brightness": ([0.1, 0.46, 1.54], lambda f: ImageEnhance.Brightness(image).enhance(f)),
        "sharpness": ([0.1, 0.46, 1.54], lambda f: ImageEnhance.Sharpness(image).enhance(f)),
    }
    geometric = {
        "rotate": ([18.0, -18.0, 30.0, 0.0], lambda d, how: image.rotate(d, resample=how, fillcolor=FILL)),
        "shear_x": ([0.18, -0.18], lambda f, how: affine(image, (1, f, 0, 0, 1, 0), how)),
        "shear_y": ([0.18, -0.18], lambda f, how: affine(image, (1, 0, 0, f, 1, 0), how)),
        "translate_x": ([0.27, -0.27], lambda f, how: affine(image, (1, 0, f * image.size[0], 0, 1, 0), how)),
        "translate_y": ([0.27, -0.27], lambda f, how: affine(image, (1, 0, 0, 0, 1, f * image.size[1]), how)),
    }
    for name, (parameters, call) in plain.items():
        for parameter in parameters:
            out[f"{name} {parameter} -"] = call(parameter)
    for name, (parameters, call) in geometric.items():
        for parameter in parameters:
            for filter, how in FILTERS.items():
                out[f"{name} {parameter} {filter}"] = call(parameter, how)
    rows = [f"{json.dumps(k)}: {json.dumps(np.asarray(v).ravel().tolist(), separators=(',', ':'))}" for k, v in out.items()]
    (Path(__file__).parent / "operations.json").write_text("{\n" + ",\n".join(rows) + "\n}\n")


main()

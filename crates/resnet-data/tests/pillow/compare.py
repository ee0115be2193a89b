"""Compares decoding, resizing and cropping with Pillow and torchvision.

    compare.py PROGRAM IMAGE...            PROGRAM: target/release/examples/preprocess
    compare.py --golden OUT.json IMAGE...  writes what tests/pillow.rs compares with

Needs: pip install pillow torchvision numpy.
"""
import json, math, struct, subprocess, sys, tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from torchvision import transforms
from torchvision.transforms import InterpolationMode

SETTINGS = [(224, 0.875, "bilinear"), (224, 0.95, "bicubic"), (288, 1.0, "bicubic")]


def reference(path, size, share, kind):
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    resize = transforms.Resize(math.floor(size / share), InterpolationMode(kind))
    crop = transforms.CenterCrop(size)(resize(image))
    return np.asarray(image), np.asarray(crop)


def read(path):
    data = path.read_bytes()
    height, width = struct.unpack("<II", data[:8])
    return np.frombuffer(data[8:], np.uint8).reshape(height, width, 3)


def report(name, pairs):
    difference = np.concatenate([np.abs(a.astype(int) - b).ravel() for a, b in pairs])
    shares = [float((np.abs(a.astype(int) - b) <= 1).mean()) for a, b in pairs]
    print(f"{name}: within 1: {(difference <= 1).mean():.4%}, equal: {(difference == 0).mean():.4%}, "
          f"greatest difference {difference.max()}, worst image within 1: {min(shares):.4%}")


def compare(program, images):
    for size, share, kind in SETTINGS:
        with tempfile.TemporaryDirectory() as out:
            subprocess.run([program, out, str(size), str(share), kind, *images], check=True)
            expected = [reference(path, size, share, kind) for path in images]
            for what, ending, index in (("decoding", "rgb", 0), (f"{size}, {share}, {kind}", "crop", 1)):
                report(what, [(e[index], read(Path(out) / f"{i}.{ending}")) for i, e in enumerate(expected)])


def golden(out, images):
    """A few pixels of every image, decoded and after the first two settings."""
    result = {}
    for path in images:
        entry = {"size": None, "decoded": [], "crops": []}
        for size, share, kind in SETTINGS[:2]:
            whole, crop = reference(path, size, share, kind)
            places = [((i * 7919 + 13) % size, (i * 104729 + 57) % size) for i in range(12)]
            entry["crops"].append([int(v) for y, x in places for v in crop[y, x]])
        height, width, _ = whole.shape
        entry["size"] = [height, width]
        places = [((i * 7919 + 13) % height, (i * 104729 + 57) % width) for i in range(12)]
        entry["decoded"] = [int(v) for y, x in places for v in whole[y, x]]
        result["/".join(Path(path).parts[-2:])] = entry
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in sorted(result.items()))
    Path(out).write_text("{\n" + lines + "\n}\n")


if sys.argv[1] == "--golden":
    golden(sys.argv[2], sys.argv[3:])
else:
    compare(sys.argv[1], sys.argv[2:])

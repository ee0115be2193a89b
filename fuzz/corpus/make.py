"""The seeds: small files of every form that the readers know. Needs numpy, Pillow, torch, safetensors, pyarrow.

Those of `state`, `run_config` and `log/run.jsonl` are not made here: a run of `recipe/tiny.toml` left them.
"""
import io
import json
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.numpy import save

here = Path(__file__).parent


def put(name, content):
    path = here / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


rng = np.random.default_rng(0)
rgb = Image.fromarray(rng.integers(0, 256, (2, 3, 3), dtype=np.uint8)).resize((9, 7), Image.BICUBIC)
grey, palette, ink = rgb.convert("L"), rgb.quantize(5), rgb.convert("CMYK")
alpha = rgb.convert("RGBA")
alpha.putalpha(grey)
deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
exif = Image.Exif()
exif[0x0112] = 6

# Pictures.
put("jpeg/plain.jpg", encoded(rgb, "JPEG", quality=60))
put("jpeg/grey.jpg", encoded(grey, "JPEG", quality=60))
put("jpeg/cmyk.jpg", encoded(ink, "JPEG", quality=60))
put("jpeg/progressive.jpg", encoded(rgb, "JPEG", quality=60, progressive=True))
put("jpeg/turned.jpg", encoded(rgb, "JPEG", quality=60, exif=exif))
put("jpeg/trailer.jpg", encoded(rgb, "JPEG", quality=60) + b"\0\0\0\x18ftypmp42" + bytes(20))
put("png/rgb.png", encoded(rgb, "PNG"))
put("png/grey.png", encoded(grey, "PNG"))
put("png/alpha.png", encoded(alpha, "PNG"))
put("png/palette.png", encoded(palette, "PNG", bits=4, transparency=1))
put("png/bit.png", encoded(rgb.convert("1"), "PNG"))
put("png/deep.png", encoded(deep, "PNG"))
put("png/turned.png", encoded(rgb, "PNG", exif=exif))
put("webp/lossy.webp", encoded(rgb, "WEBP", quality=40))
put("webp/lossless.webp", encoded(rgb, "WEBP", lossless=True))
put("webp/alpha.webp", encoded(alpha, "WEBP", quality=40, exif=exif))
put("webp/animated.webp", encoded(rgb, "WEBP", save_all=True, append_images=[rgb.transpose(0)], duration=50))
put("gif/plain.gif", encoded(palette, "GIF"))
put("gif/interlaced.gif", encoded(palette, "GIF", interlace=1, transparency=2))
put("gif/animated.gif", encoded(palette, "GIF", save_all=True, append_images=[rgb.transpose(0).quantize(4)]))
put("bmp/rgb.bmp", encoded(rgb, "BMP"))
put("bmp/palette.bmp", encoded(palette, "BMP"))
put("bmp/bit.bmp", encoded(rgb.convert("1"), "BMP"))
put("bmp/alpha.bmp", encoded(alpha, "BMP"))
head = struct.pack("<2sIHHI", b"BM", 54 + 8 + 12, 0, 0, 62) + struct.pack("<IiiHHIIiiII", 40, 4, 2, 1, 8, 1, 12, 1, 1, 2, 0)
put("bmp/runs.bmp", head + bytes([0, 0, 0, 0, 255, 255, 255, 0]) + bytes([4, 1, 0, 0, 2, 0, 2, 1, 0, 0, 0, 1]))
for name in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4"):
    picture = rgb.convert("1") if name == "group4" else rgb
    put(f"tiff/{name}.tif", encoded(picture, "TIFF", compression=name))
put("tiff/deep.tif", encoded(deep, "TIFF"))
put("tiff/palette.tif", encoded(palette, "TIFF"))
put("tiff/cmyk.tif", encoded(ink, "TIFF"))
put("tiff/turned.tif", encoded(rgb, "TIFF", exif=exif))
put("tiff/pages.tif", encoded(rgb, "TIFF", save_all=True, append_images=[rgb.copy()]))
put("pnm/rgb.ppm", encoded(rgb, "PPM"))
put("pnm/grey.pgm", encoded(grey, "PPM"))
put("pnm/bit.pbm", encoded(rgb.convert("1"), "PPM"))
put("pnm/text.ppm", "P3 # words\n2 1\n255\n255 0 0  0 255 7\n")
put("pnm/deep.pgm", b"P5 2 1 65535\n\x12\x34\xff\xff")
put("pnm/any.pam", b"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n12345678")
for kind in ("jpeg/plain.jpg", "png/alpha.png", "webp/lossless.webp", "gif/plain.gif", "bmp/rgb.bmp", "tiff/raw.tif", "pnm/rgb.ppm"):
    put("pictures/" + Path(kind).name, (here / kind).read_bytes())
put("exif/short", exif.tobytes()[6:])
put("exif/long", b"MM\0*\0\0\0\x08\0\1\x01\x12\0\4\0\0\0\1\0\0\0\6\0\0\0\0")
put("exif/byte", b"II*\0\x08\0\0\0\1\0\x12\x01\1\0\1\0\0\0\x03\0\0\0\0\0\0\0")

# Weights.
state = {
    "module.conv1.weight": torch.ones(2, 3, 3, 3), "module.bn1.running_mean": torch.zeros(2),
    "module.bn1.num_batches_tracked": torch.tensor(5), "module.fc.weight": torch.ones(2, 2, dtype=torch.bfloat16),
    "module.fc.bias": torch.zeros(4)[::2],
}
for name, content in (("plain", state), ("wrapped", {"state_dict": state, "epoch": 3, "optimizer": {"lr": 0.1}, "arch": "resnet18"})):
    for form in ("torch_zip", "torch_pickle"):
        out = io.BytesIO()
        torch.save(content, out, _use_new_zipfile_serialization=form == "torch_zip")
        whole = out.getvalue()
        # The reader of pickles adds magic number, version and system by itself.
        if form == "torch_pickle":
            stream = io.BytesIO(whole)
            for _ in range(3):
                pickle.load(stream)
            whole = whole[stream.tell():]
        put(f"{form}/{name}", whole)
put("torch_pickle/array", pickle.dumps({"model": {"fc.weight": np.ones((2, 2), np.float32)}, "__author__": "x"}, 2))
arrays = {"conv1.weight": np.ones((2, 3, 3, 3), np.float16), "fc.weight": np.ones((2, 2), np.float32), "n": np.array(3)}
put("safetensors/plain.safetensors", save(arrays))
put("safetensors/metadata.safetensors", save(arrays, {"arch": "resnet20", "classes": '["cat","dog"]'}))
put("safetensors/empty.safetensors", save({"a": np.zeros((0, 3), np.float32)}))
config = {"name": "x", "stem": "cifar", "stem_channels": 2, "blocks": [1], "widths": [2], "classes": 2}
picture = {"size": 8, "crop": 1.0, "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear"}
normalize = {"kind": "channel", "mean": [0.5] * 3, "std": [0.5] * 3}
lines = ["resnet20", json.dumps(["cat", "dog"]), json.dumps(normalize), json.dumps(config), "{}", json.dumps(picture), "shapes"]
put("weights_metadata/whole", "\n".join(lines))
put("weights_metadata/network", "\n".join(lines[:3] + ["", '{"widths":[2,2,2],"shortcut":"c"}', "", "folder:x", '{"rule":{"kind":"every-fifth"},"held_back":1}']))
timm = {
    "architecture": "resnet18", "num_classes": 2, "num_features": 512, "model_args": None,
    "pretrained_cfg": {
        "input_size": [3, 32, 32], "crop_pct": 0.95, "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3,
        "label_names": ["cat", "dog"], "label_descriptions": {"cat": "a cat", "dog": "a dog"}, "pool_size": [1, 1],
    },
}
put("hub_config/timm.json", json.dumps(timm))
put("hub_config/flat.json", json.dumps({"architecture": "resnet26d", "num_classes": 2, "input_size": [3, 32, 32], "labels": ["a", "b"]}))
theirs = {
    "model_type": "resnet", "architectures": ["ResNetForImageClassification"], "depths": [1, 1, 1, 1],
    "hidden_sizes": [4, 4, 4, 4], "embedding_size": 4, "layer_type": "basic", "hidden_act": "relu", "num_channels": 3,
    "id2label": {"0": "cat", "1": "dog"}, "problem_type": "multi_label_classification", "downsample_in_first_stage": False,
}
put("hub_config/transformers.json", json.dumps(theirs))
put("hub_config/wrapper.json", json.dumps({"model_type": "timm_wrapper", **timm}))
put("hub_config/marked.json", b"\xef\xbb\xbf" + json.dumps(timm).encode())
put("preprocessor/convnext.json", json.dumps({
    "image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 224}, "crop_pct": 0.875, "do_resize": True,
    "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3}))
put("preprocessor/bit.json", json.dumps({
    "image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True, "do_convert_rgb": True, "resample": 2}))
put("preprocessor/vit.json", json.dumps({"feature_extractor_type": "ViTFeatureExtractor", "size": {"height": 224, "width": 224}, "do_normalize": False}))

# Data sets.
jpeg = encoded(rgb, "JPEG", quality=40)


def tar(members, form=tarfile.USTAR_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as file:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    # Readers need one empty block of the twenty that are written.
    return out.getvalue().rstrip(b"\0") + bytes(1024 + -len(out.getvalue().rstrip(b"\0")) % 512)


put("tar/two.tar", tar([("0.jpg", jpeg), ("0.cls", b"0"), ("1.jpg", jpeg), ("1.cls", b"1\n")]))
put("tar/json.tar", tar([("a/b.png", encoded(grey, "PNG")), ("a/b.json", b'{"label":1,"name":"x"}')]))
put("tar/gnu.tar", tar([("x" * 120 + ".cls", b"cat"), ("x" * 120 + ".jpg", jpeg)], tarfile.GNU_FORMAT))
put("tar/pax.tar", tar([("\u00e4" * 60 + ".jpg", jpeg), ("\u00e4" * 60 + ".cls", b"0"), ("._0.jpg", b"junk")], tarfile.PAX_FORMAT))
small = encoded(grey, "PNG")
images = [{"bytes": small, "path": "a.png"}, {"bytes": small, "path": None}, None]
for codec in ("none", "snappy", "gzip", "zstd", "brotli", "lz4"):
    out = io.BytesIO()
    pq.write_table(pa.table({"image": images, "label": [0, 1, 1]}), out, compression=codec)
    put(f"parquet/{codec}.parquet", out.getvalue())
features = {"info": {"features": {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
plain = pa.table({"image": pa.array([small, small], pa.binary()), "label": pa.array(["cat", "dog"]).dictionary_encode()})
out = io.BytesIO()
pq.write_table(plain.replace_schema_metadata({"huggingface": json.dumps(features)}), out, data_page_version="2.0", store_schema=False)
put("parquet/plain.parquet", out.getvalue())
put("cifar_pickle/py3", pickle.dumps({b"labels": [3, 5], b"data": np.zeros((2, 3072), np.uint8)[:, :8], b"batch_label": b"x"}, 2))
put("cifar_pickle/lists", pickle.dumps({"labels": [1, 2], "data": [1], "filenames": ["a", "b"]}, 0))
put("class_names/two.txt", "cat\ndog\n")
put("class_names/marked.txt", b"\xef\xbb\xbfcat\r\ndog\r\n\r\n")

# Runs.
tiny = """arch = "resnet20"
dataset = "few"
iterations = 2
batch_size = 2

[network]
stem_channels = 2
blocks = [1, 1, 1]
widths = [2, 2, 2]
image_size = 8

[schedule]
kind = "constant"
lr = 0.1

[normalize]
kind = "channel"
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
"""
put("recipe/tiny.toml", tiny)
put("log/two.jsonl", '{"kind":"step","epoch":1,"step":50,"lr":0.1,"train_loss":2.3,"train_top1":10.0,"images_per_second":100.0,"seconds":1.5}\n'
    '{"kind":"epoch","epoch":1,"step":60,"lr":0.1,"train_loss":2.2,"train_top1":12.0,"test_loss":2.1,"test_top1":20.0,"test_top5":70.0,"images_per_second":100.0,"seconds":2.5}\n{"kind":"st')
for path in (here.parent.parent / "crates/resnet-train/src/recipe").glob("*.toml"):
    put(f"recipe/{path.name}", path.read_bytes())

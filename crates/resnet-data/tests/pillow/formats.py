"""Writes pictures of every format and mode, and compares the pixels decoded here with Pillow's.

    formats.py PROGRAM [SEED [ROUNDS]]   PROGRAM: target/release/examples/decode
    formats.py --golden tests/images/formats   writes tiny ones, and the sizes and sums that tests/formats.rs compares with

Needs: pip install pillow numpy tifffile imagecodecs (without imagecodecs: fewer TIFFs and JPEGs).
"""
import io, json, random, struct, subprocess, sys, tempfile, warnings, zlib
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, ImageOps, features

warnings.simplefilter("ignore")
try:
    import imagecodecs
except ImportError:
    imagecodecs = None


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


ADAM7 = [(0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2)]


def png(samples, depth, colour, before=b"", interlaced=False, after=b"", rng=random, end=True):
    """A PNG by hand, with random filters: what Pillow cannot write. samples: (rows, columns, channels)."""
    height, width, channels = samples.shape
    raw = b""
    step = max(1, depth * channels // 8)
    for left, right, top, down in ADAM7 if interlaced else [(0, 1, 0, 1)]:
        part = samples[top::down, left::right]
        if part.size == 0:
            continue
        previous = None
        for row in part:
            flat = row.reshape(-1)
            if depth == 16:
                line = flat.astype(">u2").tobytes()
            elif depth == 8:
                line = flat.astype(np.uint8).tobytes()
            else:
                bits = np.unpackbits(flat.astype(np.uint8)[:, None], axis=1)[:, 8 - depth:]
                line = np.packbits(bits.reshape(-1)).tobytes()
            filters = rng.choice([0, 1, 2, 3, 4])
            up = previous or bytes(len(line))
            out = bytearray()
            for i, byte in enumerate(line):
                a = line[i - step] if i >= step else 0
                b, c = up[i], up[i - step] if i >= step else 0
                p = a + b - c
                pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
                paeth = a if pa <= pb and pa <= pc else b if pb <= pc else c
                out.append((byte - [0, a, b, (a + b) // 2, paeth][filters]) & 255)
            raw += bytes([filters]) + bytes(out)
            previous = line
    data = zlib.compress(raw)
    cut = rng.randrange(len(data))
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    body = chunk(b"IDAT", data[:cut]) + chunk(b"IDAT", data[cut:]) + after
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + before + body + (chunk(b"IEND", b"") if end else b"")


def bmp(width, height, bits, palette, rows, compression=0, colours=None, header=40, masks=b"", flip=False, offset=None):
    if header == 12:
        head = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        colours = len(palette) // 4 if colours is None else colours
        head = struct.pack("<IiiHHIIiiII", header, width, -height if flip else height, 1, bits, compression, len(rows), 0, 0, colours, 0)
        head += masks + bytes(max(0, header - 40 - len(masks)))
    offset = 14 + len(head) + len(palette) if offset is None else offset
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + head + palette + rows


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def tiff(data, **options):
    out = io.BytesIO()
    options.setdefault("metadata", None)
    tifffile.imwrite(out, data, **options)
    return out.getvalue()


def exif(value, order="<", kind=3):
    field = struct.pack(order + "HH", value, 0) if kind == 3 else struct.pack(order + "I", value)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return head + struct.pack(order + "H", 1) + struct.pack(order + "HHI", 0x112, kind, 1) + field + bytes(4)


def app1(payload):
    return b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload


def picture(rng, size):
    """Soft blobs with some noise."""
    n = np.random.default_rng(rng.randrange(1 << 30))
    low = n.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    soft = Image.fromarray(low).resize(size, Image.BICUBIC)
    noise = Image.fromarray(n.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    return Image.blend(soft, noise, rng.choice([0, 0.1, 0.5]))


def files(rng, size=None):
    """Pairs of a name and bytes."""
    size = size or (rng.randrange(1, 40), rng.randrange(1, 40))
    w, h = size
    n = np.random.default_rng(rng.randrange(1 << 30))
    image = picture(rng, size)
    rgb = np.asarray(image)
    grey = image.convert("L")
    alpha = image.copy()
    alpha.putalpha(Image.fromarray(n.integers(0, 256, (h, w), dtype=np.uint8)))
    # JPEG
    for mode in ("RGB", "L", "CMYK"):
        for sampling in (0, 1, 2) if mode == "RGB" else (0,):
            options = dict(quality=rng.choice([20, 75, 95, 100]), subsampling=sampling)
            if rng.random() < 0.5:
                options["progressive"] = True
            if rng.random() < 0.5:
                options["restart_marker_blocks"] = rng.randrange(1, 4)
            if rng.random() < 0.3:
                options["optimize"] = True
            yield f"{mode}{sampling}.jpg", encoded(image.convert(mode), "JPEG", **options)
    yield "keep_rgb.jpg", encoded(image, "JPEG", quality=90, keep_rgb=True)
    jpeg = encoded(image, "JPEG", quality=90)
    progressive = encoded(image, "JPEG", quality=90, progressive=True)
    for i, (a, b) in enumerate([(1, 2), (4, 1), (2, 1), (1, 4), (4, 2), (2, 4)]):
        # Other samplings, by the header of a larger picture's data: what is decoded is the same garbage everywhere.
        at = jpeg.find(b"\xff\xc0")
        yield f"sampling{a}{b}.jpg", jpeg[:at + 11] + bytes([a << 4 | b]) + jpeg[at + 12:-2] + n.integers(0, 255, 4000, dtype=np.uint8).tobytes() + b"\xff\xd9"
    for name, data in (("base", jpeg), ("prog", progressive)):
        yield f"{name}_no_eoi.jpg", data[:-2]
        yield f"{name}_no_eoi_zeros.jpg", data[:-2] + bytes(100)
        yield f"{name}_junk.jpg", data + n.bytes(500)
        yield f"{name}_no_eoi_junk.jpg", data[:-2] + n.bytes(500)
        cut = rng.randrange(len(data) // 2, len(data))
        yield f"{name}_cut.jpg", data[:cut]
        yield f"{name}_cut_eoi.jpg", data[:cut] + b"\xff\xd9"
        yield f"{name}_twice.jpg", data + jpeg
        yield f"{name}_before.jpg", b"\n\0junk" + data
        at = rng.randrange(len(data) - 50, len(data))
        yield f"{name}_flip.jpg", data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1:]
    for i in range(1, 9):
        kind, order = rng.choice([3, 4]), rng.choice("<>")
        yield f"exif{i}.jpg", jpeg[:2] + app1(b"Exif\0\0" + exif(i, order, kind)) + jpeg[2:]
        yield f"xmp{i}.jpg", jpeg[:2] + app1(b"http://ns.adobe.com/xap/1.0/\0" + b'<x tiff:Orientation="%d"/>' % i) + jpeg[2:]
        yield f"exif{i}.webp", encoded(image, "WEBP", exif=b"Exif\0\0" + exif(i, order, kind), lossless=True)
        yield f"exif{i}.png", encoded(image, "PNG", exif=b"Exif\0\0" + exif(i, order, kind))
        yield f"exif{i}.tif", encoded(image, "TIFF", tiffinfo={0x112: i})
        yield f"exif{i}l.tif", tiff(rgb, photometric="rgb", extratags=[(274, kind, 1, i, True)], byteorder=order, bigtiff=rng.random() < 0.5, compression=rng.choice([None, "zlib"]))
        yield f"mpo{i}.jpg", encoded(image, "MPO", save_all=True, append_images=[image], exif=b"Exif\0\0" + exif(i, order, kind))
    if imagecodecs:
        for pixels, name in ((rgb, "rgb"), (np.asarray(grey), "grey")):
            yield f"lossless_{name}.jpg", imagecodecs.ljpeg_encode(pixels) if name == "grey" else imagecodecs.jpeg8_encode(pixels, lossless=True)
        yield "12.jpg", imagecodecs.jpeg_encode(rgb.astype(np.uint16) * 16, bitspersample=12)
    # PNG
    for depth in (1, 2, 4, 8, 16):
        for colour, channels in ((0, 1), (3, 1), (2, 3), (4, 2), (6, 4)):
            if (colour == 3 and depth == 16) or (colour in (2, 4, 6) and depth < 8):
                continue
            entries = rng.randrange(1, (1 << min(depth, 8)) + 1)
            samples = n.integers(0, 1 << depth, (h, w, channels))
            before = chunk(b"PLTE", n.bytes(3 * entries)) if colour == 3 else b""
            if rng.random() < 0.5:
                before += chunk(b"tRNS", n.bytes({0: 2, 2: 6, 3: entries}.get(colour, 1)))
            for interlaced in (False, True):
                yield f"{colour}_{depth}_{int(interlaced)}.png", png(samples, depth, colour, before, interlaced, rng=rng, end=rng.random() < 0.8)
    text = "\nexif\n%8d\n%s\n" % (len(exif(6)), exif(6).hex())
    xmp = b'<x tiff:Orientation="8"/>'
    whole = n.integers(0, 256, (h, w, 3))
    for i, extra in enumerate([
        chunk(b"tEXt", b"Raw profile type exif\0" + text.encode()),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text.encode())),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp)),
        chunk(b"eXIf", exif(6, ">", 4)),
    ]):
        yield f"text{i}.png", png(whole, 8, 2, before=extra, rng=rng)
        yield f"textafter{i}.png", png(whole, 8, 2, after=extra, rng=rng)
    data = png(whole, 8, 2, rng=rng)
    yield "cut.png", data[:rng.randrange(40, len(data))]
    yield "junk.png", data + n.bytes(99)
    yield "apng.png", encoded(image, "PNG", save_all=True, append_images=[image.transpose(0)])
    yield "optimized.png", encoded(image.quantize(rng.randrange(2, 256)), "PNG", optimize=True)
    # WebP
    for name, options in (("lossy", dict(quality=rng.randrange(0, 101), method=rng.randrange(0, 7))), ("lossless", dict(lossless=True, method=rng.randrange(0, 7)))):
        for mode, source in (("rgb", image), ("rgba", alpha)):
            yield f"{name}_{mode}.webp", encoded(source, "WEBP", **options)
            yield f"{name}_{mode}_exact.webp", encoded(source, "WEBP", exact=True, **options)
            yield f"{name}_{mode}_animated.webp", encoded(source, "WEBP", save_all=True, append_images=[source.transpose(0)], **options)
    webp = encoded(image, "WEBP", quality=60)
    yield "cut.webp", webp[:rng.randrange(20, len(webp))]
    yield "junk.webp", webp + n.bytes(77)
    # GIF
    for colours in (2, 5, 200):
        few = image.quantize(colours)
        yield f"{colours}.gif", encoded(few, "GIF", interlace=rng.choice([0, 1]), optimize=rng.random() < 0.5)
        yield f"{colours}t.gif", encoded(few, "GIF", transparency=rng.randrange(colours))
    yield "grey.gif", encoded(grey, "GIF")
    yield "bits.gif", encoded(image.convert("1"), "GIF")
    yield "animated.gif", encoded(image, "GIF", save_all=True, append_images=[image.transpose(0), image.transpose(1)])
    gif = encoded(few, "GIF")
    yield "cut.gif", gif[:rng.randrange(20, len(gif))]
    yield "no_trailer.gif", gif[:-1]
    # BMP
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        yield f"{mode}.bmp", encoded(alpha.convert(mode), "BMP")
    for bits in (1, 4, 8, 16, 24, 32):
        stride = (w * bits + 31) // 32 * 4
        rows = n.bytes(stride * h)
        entries = rng.randrange(1, (1 << bits) + 1) if bits <= 8 else 0
        for header in (12, 40, 52, 56, 64, 108, 124):
            palette = b"".join(n.bytes(3) + (b"" if header == 12 else b"\0") for _ in range((1 << bits) if header == 12 and bits <= 8 else entries))
            yield f"raw{bits}_{header}.bmp", bmp(w, h, bits, palette, rows, header=header, flip=header != 12 and rng.random() < 0.5)
        for masks in ([0xF800, 0x7E0, 0x1F, 0], [0x7C00, 0x3E0, 0x1F, 0]) if bits == 16 else ([0xFF0000, 0xFF00, 0xFF, 0], [0xFF000000, 0xFF0000, 0xFF00, 0], [0xFF000000, 0xFF0000, 0xFF00, 0xFF], [0xFF, 0xFF00, 0xFF0000, 0xFF000000], [0xFF0000, 0xFF00, 0xFF, 0xFF000000], [0xFF000000, 0xFF00, 0xFF, 0xFF0000], [0, 0, 0, 0]) if bits == 32 else ():
            packed = struct.pack("<4I", *masks)
            yield f"fields{bits}_{masks[0]:x}_{masks[3]:x}.bmp", bmp(w, h, bits, b"", rows, 3, 0, 124, packed)
            if not masks[3]:
                yield f"fields40_{bits}_{masks[0]:x}.bmp", bmp(w, h, bits, packed[:12], rows, 3, 0, 40)
    for four in (False, True):
        rows = b""
        for y in range(h):
            x = 0
            while x < w:
                run = min(rng.randrange(1, 20), w - x)
                x += run
                if run >= 3 and rng.random() < 0.5:
                    length = (run + 1) // 2 if four else run
                    rows += bytes([0, run]) + n.bytes(length) + bytes(length % 2)
                else:
                    rows += bytes([run]) + n.bytes(1)
            rows += b"\0\0"
        yield f"rle{8 - 4 * four}.bmp", bmp(w, h, 4 if four else 8, n.bytes(4 * (16 if four else 256)), rows + b"\0\1", 2 if four else 1)
    # The portable maps
    comment = rng.choice(["", "# by hand\n"])
    for most in (1, 15, 100, 255, 256, 1023, 4095, 65535):
        values = n.integers(0, most + 1, (h, w, 3))
        wide = ">u2" if most > 255 else "u1"
        yield f"{most}.ppm", f"P6\n{comment}{w} {h}\n{most}\n".encode() + values.astype(wide).tobytes()
        yield f"{most}t.ppm", f"P3 {comment}{w}\n{h} {most}\n".encode() + "\n".join(map(str, values.reshape(-1))).encode()
        if most < 256:
            yield f"{most}.pgm", f"P5\n{w} {h}\n{comment}{most}\n".encode() + values[:, :, 0].astype(wide).tobytes()
            yield f"{most}t.pgm", f"P2 {w}\n{h} {most} ".encode() + "\t".join(map(str, values[:, :, 0].reshape(-1))).encode() + b"\n"
    yield "cut.ppm", f"P6 {w} {h} 255\n".encode() + rgb.tobytes()[:-1]
    bits = n.integers(0, 2, (h, w), dtype=np.uint8)
    yield "bits.pbm", f"P4\n{w} {h}\n".encode() + np.packbits(bits, axis=1).tobytes()
    yield "bitst.pbm", f"P1\n{comment}{w} {h}\n".encode() + rng.choice(["", " ", "\n"]).join(map(str, bits.reshape(-1))).encode()
    # TIFF
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK"):
        source = alpha.convert(mode) if mode != "RGBX" else alpha.convert("RGB").convert("RGBX")
        for compression in (None, "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits", "group3", "group4", "jpeg"):
            if (compression in ("group3", "group4")) != (mode == "1") and compression in ("group3", "group4"):
                continue
            if compression == "jpeg" and mode not in ("L", "RGB", "CMYK"):
                continue
            options = {}
            if compression in ("tiff_lzw", "tiff_deflate", "tiff_adobe_deflate") and mode not in ("1",) and rng.random() < 0.5:
                options["tiffinfo"] = {317: 2}
            if rng.random() < 0.5:
                options.setdefault("tiffinfo", {})[278] = rng.choice([1, 8, 16])
            try:
                yield f"{mode}_{compression}.tif", encoded(source, "TIFF", compression=compression, **options)
            except OSError as error:
                print("not written:", mode, compression, error)
    tile = (16 * rng.randrange(1, 3), 16 * rng.randrange(1, 3))
    for name, data, options in [
        ("grey", np.asarray(grey), dict(photometric="minisblack")),
        ("white", np.asarray(grey), dict(photometric="miniswhite")),
        ("rgb", rgb, dict(photometric="rgb")),
        ("rgb_planes", np.ascontiguousarray(rgb.transpose(2, 0, 1)), dict(photometric="rgb", planarconfig="separate")),
        ("rgba", np.asarray(alpha), dict(photometric="rgb", extrasamples=["unassalpha"])),
        ("rgba_pre", np.asarray(alpha), dict(photometric="rgb", extrasamples=["assocalpha"])),
        ("rgbx", np.asarray(alpha), dict(photometric="rgb", extrasamples=["unspecified"])),
        ("rgb16", n.integers(0, 65536, (h, w, 3), dtype=np.uint16), dict(photometric="rgb")),
        ("rgba16", n.integers(0, 65536, (h, w, 4), dtype=np.uint16), dict(photometric="rgb", extrasamples=["unassalpha"])),
        ("rgba16_pre", n.integers(0, 65536, (h, w, 4), dtype=np.uint16), dict(photometric="rgb", extrasamples=["assocalpha"])),
        ("palette", n.integers(0, 256, (h, w), dtype=np.uint8), dict(photometric="palette", colormap=n.integers(0, 65536, (3, 256), dtype=np.uint16))),
        ("cmyk", n.integers(0, 256, (h, w, 4), dtype=np.uint8), dict(photometric="separated")),
        ("cmyk16", n.integers(0, 65536, (h, w, 4), dtype=np.uint16), dict(photometric="separated")),
        ("bits", n.integers(0, 2, (h, w), dtype=np.uint8).astype(bool), dict(photometric=rng.choice(["minisblack", "miniswhite"]))),
        ("pages", np.stack([rgb, rgb[::-1]]), dict(photometric="rgb")),
    ]:
        for compression in (None, "zlib", "lzw", "packbits"):
            if compression in ("lzw", "packbits") and not imagecodecs:
                continue
            for tiled in (False, True):
                if tiled and (name == "pages" or w < 2 or h < 2):
                    continue
                more = dict(tile=tile) if tiled else dict(rowsperstrip=rng.randrange(1, h + 1))
                if compression in ("zlib", "lzw") and name not in ("bits", "palette") and imagecodecs and rng.random() < 0.5:
                    more["predictor"] = 2
                yield f"{name}_{compression}_{int(tiled)}.tif", tiff(data, compression=compression, byteorder=rng.choice("<>"), bigtiff=rng.random() < 0.3, **options, **more)
        if imagecodecs and name in ("grey", "rgb", "rgb_planes") and w > 1 and h > 1:
            yield f"{name}_jpeg.tif", tiff(data, compression="jpeg", tile=tile, **options)
            yield f"{name}_jpeg_strips.tif", tiff(data, compression="jpeg", rowsperstrip=rng.choice([8, 16]), **options)


def expected(data):
    try:
        return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    except Exception as error:
        return f"{type(error).__name__}: {error}".split("\n")[0]


def is_scaled(data):
    """True for grey of more than 8 bits, where this project differs from Pillow."""
    try:
        return Image.open(io.BytesIO(data)).mode.startswith("I")
    except Exception:
        return False


def read(path):
    data = path.read_bytes()
    height, width = struct.unpack("<II", data[:8])
    return np.frombuffer(data[8:], np.uint8).reshape(height, width, 3)


GOLDEN = """RGB1.jpg RGB2.jpg L0.jpg CMYK0.jpg keep_rgb.jpg base_no_eoi_zeros.jpg prog_junk.jpg exif6.jpg exif3.jpg xmp8.jpg
mpo5.jpg lossless_rgb.jpg lossless_grey.jpg 0_1_0.png 0_1_1.png 0_2_0.png 0_4_1.png 0_8_0.png 2_8_0.png 2_8_1.png 2_16_0.png
3_1_0.png 3_2_1.png 3_4_0.png 3_8_0.png 3_8_1.png 4_8_0.png 4_16_1.png 6_8_0.png 6_16_0.png text0.png text1.png text2.png
text3.png text4.png textafter0.png textafter4.png exif7.png junk.png apng.png lossy_rgb.webp lossy_rgba.webp lossless_rgb.webp
lossless_rgba.webp lossy_rgba_animated.webp lossless_rgb_animated.webp exif8.webp junk.webp 2.gif 5.gif 5t.gif grey.gif bits.gif
animated.gif no_trailer.gif 1.bmp P.bmp RGBA.bmp raw1_12.bmp raw4_40.bmp raw8_124.bmp raw16_40.bmp raw24_12.bmp raw32_56.bmp
fields16_f800_0.bmp fields16_7c00_0.bmp fields32_ff000000_ff0000.bmp fields40_32_ff0000.bmp rle8.bmp rle4.bmp 255.ppm 100t.ppm
1023.ppm 65535.ppm 15t.pgm 255.pgm bits.pbm bitst.pbm 1_None.tif 1_group3.tif 1_group4.tif 1_packbits.tif L_tiff_lzw.tif
LA_tiff_deflate.tif P_packbits.tif RGB_tiff_adobe_deflate.tif RGBX_None.tif CMYK_tiff_lzw.tif CMYK_jpeg.tif RGB_jpeg.tif
exif6.tif exif8l.tif white_zlib_0.tif rgb_lzw_1.tif rgb_planes_zlib_1.tif rgba_pre_None_0.tif rgbx_zlib_0.tif rgb16_lzw_0.tif
rgba16_pre_None_1.tif palette_lzw_0.tif cmyk16_zlib_0.tif bits_zlib_0.tif pages_None_0.tif rgb_jpeg.tif
rgb_jpeg_strips.tif""".split()


def golden(folder):
    """Of each of these the first that Pillow reads; the sum is that of the pixels, row by row."""
    folder.mkdir(exist_ok=True)
    found = {}
    for seed in range(20):
        for name, data in files(random.Random(seed), (7, 5)):
            want = expected(data)
            if name in GOLDEN and name not in found and not isinstance(want, str) and not is_scaled(data):
                found[name] = [*want.shape[:2], zlib.crc32(want.tobytes())]
                (folder / name).write_bytes(data)
    # Pillow writes no arithmetic codes: these are libjpeg's, with `arith_code` set.
    for path in folder.glob("arithmetic_*.jpg"):
        want = expected(path.read_bytes())
        found[path.name] = [*want.shape[:2], zlib.crc32(want.tobytes())]
    assert len(found) == len(GOLDEN) + 2, set(GOLDEN) - set(found)
    rows = ",\n".join(f'"{name}": {found[name]}' for name in sorted(found))
    (folder / "pillow.json").write_text("{\n" + rows + "\n}\n")


def compare(program, seed, rounds):
    counts = {}
    for round in range(rounds):
        rng = random.Random(seed + round)
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            made = dict(files(rng))
            for name, data in made.items():
                (folder / name).write_bytes(data)
            done = subprocess.run([program, str(folder), *[folder / name for name in made]], check=True, capture_output=True, text=True)
            errors = {Path(line.split(": ", 1)[0]).name: line for line in done.stdout.splitlines()}
            for name, data in made.items():
                kind = name.rsplit(".", 1)[1]
                want = expected(data)
                out = folder / (name + ".rgb")
                got = read(out) if out.exists() else None
                if isinstance(want, str) and got is None:
                    says = "refused by both"
                elif isinstance(want, str):
                    says = "read, where Pillow does not"
                elif got is None:
                    says = "REFUSED"
                elif is_scaled(data):
                    says = "grey of 16 bits"
                elif want.shape == got.shape and (want == got).all():
                    says = "equal"
                else:
                    says = "OTHER PIXELS"
                counts[kind, says] = counts.get((kind, says), 0) + 1
                if says.isupper() or says.startswith("read"):
                    far = "" if got is None or isinstance(want, str) else f"{want.shape} {got.shape} " + (str(np.abs(want.astype(int) - got).max()) if want.shape == got.shape else "")
                    print(f"{seed + round} {name}: {says} {far} {want if isinstance(want, str) else ''} {errors.get(name, '')[-150:] if got is None else ''}")
                    Path("/tmp/formats-failed").mkdir(exist_ok=True)
                    Path(f"/tmp/formats-failed/{seed + round}_{name}").write_bytes(data)
    for (kind, says), count in sorted(counts.items()):
        print(f"{kind:5} {says:30} {count}")
    print("files:", sum(counts.values()), "equal:", sum(count for (_, says), count in counts.items() if says == "equal"))


if __name__ == "__main__" and sys.argv[1] == "--golden":
    golden(Path(sys.argv[2]))
elif __name__ == "__main__":
    print("Pillow", Image.__version__, "libjpeg-turbo", features.version("libjpeg_turbo"), "imagecodecs" if imagecodecs else "")
    compare(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0, int(sys.argv[3]) if len(sys.argv) > 3 else 1)

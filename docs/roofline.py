"""Bytes and operations of one training step on CUDA, by kind of kernel, and what they take at a GPU's limits.

    python3 docs/roofline.py

The passes are those of resnet-ops/src/cuda: a convolution reads and writes each operand once, and reads its result once more
where it adds to it; a norm reads its input for the moments, reads and writes for the result, and backwards reads gradient
and input twice (with a residual: gradient, result and input, then gradient and input). Limits: NVIDIA's data sheets, dense.
"""

BANDWIDTH = {"H100 SXM": 3.35e12, "H200": 4.8e12}
PEAK = {2: 989e12, 4: 67e12}  # bf16, f32; both devices have the same


def resnet50():
    """(channels in, rows, channels out, kernel, stride, what follows the norm)"""
    layers, joins, rows, c = [(3, 224, 64, 7, 2, "relu")], [], 56, 64
    for stage, (middle, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)]):
        for i in range(blocks):
            s = 2 if stage and not i else 1
            joins.append(c * rows * rows)
            layers += [(c, rows, middle, 1, 1, "relu"), (middle, rows, middle, 3, s, "relu")]
            layers.append((middle, rows // s, 4 * middle, 1, 1, "add"))
            if not i:
                layers.append((c, rows, 4 * middle, 1, s, ""))
            rows, c = rows // s, 4 * middle
    pool = 64 * 112 * 112 + 64 * 56 * 56
    return layers, joins, 2 * pool, 2048 * 1000 + 1000


def resnet20():
    layers, joins, shortcuts, rows, c = [(3, 32, 16, 3, 1, "relu")], [], 0, 32, 16
    for stage, width in enumerate([16, 32, 64]):
        for i in range(3):
            s = 2 if stage and not i else 1
            joins.append(c * rows * rows)
            layers += [(c, rows, width, 3, s, "relu"), (width, rows // s, width, 3, 1, "add")]
            if s == 2:
                shortcuts += c * rows * rows * 3 // 2 + width * (rows // 2) ** 2
            rows, c = rows // s, width
    return layers, joins, shortcuts, 64 * 10 + 10


def step(device, name, network, batch, size):
    bandwidth = BANDWIDTH[device]
    layers, joins, other, parameters = network()
    operations = convolutions = norms = launches = 0
    for c, rows, o, kernel, stride, after in layers:
        x, y = batch * c * rows * rows * size, batch * o * (rows // stride) ** 2 * size
        weights = o * c * kernel * kernel
        passes = 2 if c == 3 else 3  # the images get no gradient
        work, moved = 2 * y // size * weights // o, x + y + weights * size
        operations += passes * work
        convolutions += passes * max(work / PEAK[size], moved / bandwidth)
        norms += y * (1 + 3 + 7 if after == "add" else 1 + 2 + 5)
        parameters += weights + 2 * o
        launches += passes + 2 + 6  # the weight's layout to and fro; norm: three forwards, three backwards
    # SGD reads three values and writes two; a weight and its gradient are read in one dtype and written in the other.
    updates = parameters * (5 * 4 + 2 * (4 + size))
    seconds = {
        "convolutions at their limits": convolutions,
        f"norms, {norms / 1e9:.2f} GB": norms / bandwidth,
        "gradients that meet": sum(joins) * batch * size / bandwidth,
        "pool, shortcuts": other * batch * size / bandwidth,
        "weights to and fro, SGD": updates / bandwidth,
    }
    print(f"{device}, {name}, batch {batch}, {size} bytes a value, {parameters} parameters, {launches} launches and a few")
    print(f"  {operations / 1e12:.3f} TFLOP: {operations / PEAK[size] * 1e3:.3f} ms at the peak")
    for what, s in seconds.items():
        print(f"  {what}: {s * 1e3:.3f} ms")
    total = sum(seconds.values())
    print(f"  together {total * 1e3:.2f} ms: {batch / total:.0f} images/s")


for device in BANDWIDTH:
    for size in PEAK:
        step(device, "ResNet-50", resnet50, 256, size)
        step(device, "ResNet-20", resnet20, 128, size)

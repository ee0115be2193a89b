"""Images per second of `resnet bench` beside PyTorch and ONNX Runtime, alternating, so that a busy machine slows both.

    pip install torch torchvision onnx onnxruntime
    python3 docs/compare_speed.py target/release/resnet                              # the CPU table of the README
    python3 docs/compare_speed.py target/release/resnet --device cuda --compile      # the GPU table
    python3 docs/compare_speed.py target/release/resnet train:resnet50:8:224:f32     # one row

A row is TASK:NETWORK:BATCH:SIZE:DTYPE, with `:ort` behind it for ONNX Runtime. PyTorch runs channels-last and channels-first,
the faster counts; bf16 is its autocast. A training step is forward, cross-entropy, backward and SGD (momentum 0.9, weight decay
1e-4) on noise; each figure is the median over steps, each ratio the median over rounds.
"""

import argparse
import io
import json
import statistics
import subprocess
import time

import torch
import torch.nn.functional as F
import torchvision
from torch import nn

CPU = [
    "train:resnet20:128:32:f32",
    "train:resnet20:128:32:bf16",
    "train:resnet50:8:224:f32",
    "train:resnet50:8:224:bf16",
    "infer:resnet20:128:32:f32",
    "infer:resnet18:1:224:f32:ort",
    "infer:resnet50:1:224:f32:ort",
    "infer:resnet50:8:224:f32:ort",
    "infer:resnet18:1:224:bf16",
    "infer:resnet50:1:224:bf16",
    "infer:resnet50:8:224:bf16",
]
CUDA = [
    "train:resnet50:256:224:bf16",
    "infer:resnet50:256:224:bf16",
    "train:resnet20:128:32:bf16",
    "infer:resnet20:128:32:bf16",
]
STEPS = {"cpu": 8, "cuda": 50}


class Unit(nn.Module):
    """A basic block with the shortcut of option A (He et al. 2015, section 4.2)."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.added, self.stride = outputs - inputs, stride
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        if self.stride > 1:
            half = self.added // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, self.added - half))
        return F.relu(y + x, inplace=True)


def cifar(depth):
    widths = [16] + [w for w in (16, 32, 64) for _ in range((depth - 2) // 6)]
    units = [Unit(a, b, 2 if b > a else 1) for a, b in zip(widths, widths[1:])]
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    return nn.Sequential(*stem, *units, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)), 10


def network(name, size):
    if size <= 32:
        return cifar(int(name.removeprefix("resnet")))
    return getattr(torchvision.models, name)(), 1000


def rate(step, batch, steps, device):
    def finish():
        if device == "cuda":
            torch.cuda.synchronize()

    for _ in range(2):
        step()
    finish()
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        finish()
        seconds.append(time.perf_counter() - start)
    return batch / statistics.median(seconds)


def pytorch(task, name, batch, size, dtype, steps, device, layout, compiled):
    torch.manual_seed(0)
    model, classes = network(name, size)
    model = model.to(device, memory_format=layout)
    x = torch.randn(batch, 3, size, size, device=device).contiguous(memory_format=layout)
    amp = torch.autocast(device, dtype=torch.bfloat16, enabled=dtype == "bf16")
    forward = torch.compile(model) if compiled else model
    if task == "infer":
        model.eval()

        def step():
            with torch.inference_mode(), amp:
                forward(x)

        return rate(step, batch, steps, device)
    labels = torch.randint(0, classes, (batch,), device=device)
    sgd = torch.optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=1e-4)

    def step():
        sgd.zero_grad(set_to_none=True)
        with amp:
            logits = forward(x)
        F.cross_entropy(logits.float(), labels).backward()
        sgd.step()

    return rate(step, batch, steps, device)


def onnx_runtime(name, batch, size, steps, threads):
    import onnxruntime

    model, _ = network(name, size)
    x, file = torch.randn(batch, 3, size, size), io.BytesIO()
    torch.onnx.export(model.eval(), x, file, dynamo=False, input_names=["images"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    images = x.numpy()
    return rate(lambda: session.run(None, {"images": images}), batch, steps, "cpu")


def ours(program, task, name, batch, size, dtype, steps, device):
    values = {"arch": name, "batch-size": batch, "image-size": size, "dtype": dtype, "steps": steps, "device": device}
    flags = [text for key, value in values.items() for text in (f"--{key}", str(value))]
    out = subprocess.run([program, "bench", task, *flags, "--json"], check=True, capture_output=True, text=True)
    return json.loads(out.stdout)["images_per_second"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--compile", action="store_true", help="also PyTorch's compiled network, as a row of its own")
    args = parser.parse_intermixed_args()
    torch.set_num_threads(args.threads)
    steps = STEPS[args.device]
    for row in args.rows or (CUDA if args.device == "cuda" else CPU):
        task, name, batch, size, dtype, *engine = row.split(":")
        work = (task, name, int(batch), int(size), dtype, steps, args.device)

        def eager(compiled=False):
            layouts = [torch.channels_last, torch.contiguous_format]
            return max(pytorch(*work, layout, compiled) for layout in layouts)

        peers = {"PyTorch": eager}
        if engine == ["ort"]:
            peers = {"ONNX Runtime": lambda: onnx_runtime(name, int(batch), int(size), steps, args.threads)}
        elif args.compile:
            peers["PyTorch, compiled"] = lambda: eager(compiled=True)
        rounds = []
        for _ in range(args.rounds):
            rounds.append((ours(args.program, *work), {peer: run() for peer, run in peers.items()}))
        for peer in peers:
            here, other = [r[0] for r in rounds], [r[1][peer] for r in rounds]
            ratios = [a / b for a, b in zip(here, other)]
            print(
                f"{row:32} {statistics.median(here):10.2f} img/s, {peer} {statistics.median(other):10.2f} img/s: "
                f"{statistics.median(ratios):.3f} ({min(ratios):.2f} to {max(ratios):.2f})",
                flush=True,
            )


if __name__ == "__main__":
    main()

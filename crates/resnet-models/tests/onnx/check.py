"""Compares ONNX Runtime on exported files with the program that exported them.

    check.py PROGRAM ARCH[=WEIGHTS]...     PROGRAM: target/release/resnet

Without WEIGHTS those of timm's network of that name, random. Needs: pip install timm safetensors onnx onnxruntime.
"""
import subprocess, sys, tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import timm
import torch
from safetensors.numpy import load_file, save_file


def random_weights(arch, path):
    torch.manual_seed(0)
    network = timm.create_model(arch, num_classes=10)
    state = {}
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value = torch.rand_like(value) + 0.5
        elif name.endswith(("running_mean", "bias")):
            value = torch.randn_like(value) * 0.2
        elif value.ndim == 1:
            value = torch.rand_like(value) * 0.5 + 0.5
        state[name] = value.numpy()
    save_file(state, path)


program, *archs = sys.argv[1:]
worst = 0.0
for arch in archs:
    arch, _, given = arch.partition("=")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        weights, model, x, y = (folder / name for name in ("w.safetensors", "m.onnx", "x.safetensors", "y.safetensors"))
        run = lambda *arguments: subprocess.run([program, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
        if given:
            weights = given
        else:
            random_weights(arch, weights)
        run("export", "--onnx", model, "--arch", arch, "--weights", weights)
        proto = onnx.load(model)
        onnx.checker.check_model(proto, full_check=True)
        size = proto.graph.input[0].type.tensor_type.shape.dim[2].dim_value
        images = np.random.default_rng(0).standard_normal((2, 3, size, size), np.float32)
        save_file({"input": images}, x)
        run("forward", "--arch", arch, "--weights", weights, "--input", x, "--output", y)
        session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        for count in (1, 2):
            expected = load_file(y)["logits"][:count]
            found = session.run(None, {"images": images[:count]})[0]
            error = float(np.abs(found - expected).max() / max(1.0, np.abs(expected).max()))
            worst = max(worst, error)
            print(f"{arch}: batch {count}: greatest difference {error:.2e}")
            assert error < 1e-4, arch
print(f"worst {worst:.2e}")

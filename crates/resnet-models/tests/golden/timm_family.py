"""Logits of timm's ResNet family on weights and inputs that a rule fills, into timm_family.json.

    python timm_family.py [NAME ...]

Without names, every network of timm's resnet and resnetv2 modules, and the like in byobnet. One object a network: the
number of parameters, the CRC-32 of the sorted lines "name [shape]" of its state dict (counters left out), and the first
eight logits of one image in evaluation. Existing entries are kept; each network is written as soon as it is done.
75 pixels give odd sizes on the way: 38, 19, 10, 5, 3. Average pooling in place of strides needs even ones.
"""
import json, os, sys, zlib
import numpy as np, timm, torch

BYOB = [
    "resnext26ts", "seresnext26ts", "eca_resnext26ts",
    "resnet32ts", "resnet33ts", "seresnet33ts", "eca_resnet33ts",
]
PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "timm_family.json")


def fill(name, shape):
    n = int(np.prod(shape))
    z = np.arange(n, dtype=np.uint32)
    z *= np.uint32(2654435761)
    z += np.uint32(zlib.crc32(name.encode()))
    for _ in range(2):
        z ^= z >> np.uint32(16)
        z *= np.uint32(0x45D9F3B)
    z ^= z >> np.uint32(16)
    u = z.astype(np.float64) / 2**32 - 0.5
    if name == "input":
        v = 2 * u
    elif name.endswith("running_mean"):
        v = 0.2 * u
    elif name.endswith("running_var"):
        v = 1 + 0.5 * u
    elif len(shape) == 1:
        v = 0.5 + 0.4 * u if name.endswith("weight") else 0.2 * u
    elif len(shape) == 2:
        v = 2 * u * np.sqrt(3 / shape[1])
    else:
        v = 2 * u * np.sqrt(6 / np.prod(shape[1:]))
    return torch.from_numpy(v.astype(np.float32).reshape(shape))


def golden(name):
    size = 64 if "aa" in name else 75
    model = timm.create_model(name, pretrained=False).eval()
    state = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    with torch.no_grad():
        for key, value in state.items():
            value.copy_(fill(key, tuple(value.shape)))
        logits = model(fill("input", (1, 3, size, size)))[0, :8]
    lines = sorted(f"{key} {list(value.shape)}" for key, value in state.items())
    return {
        "size": size,
        "params": sum(p.numel() for p in model.parameters()),
        "names": zlib.crc32("\n".join(lines).encode()),
        "logits": [float(f"{x:.7g}") for x in logits.tolist()],
    }


def main():
    done = json.load(open(PATH)) if os.path.exists(PATH) else {}
    names = sys.argv[1:] or timm.list_models(module="resnet") + timm.list_models(module="resnetv2") + BYOB
    for name in names:
        if name in done:
            continue
        done[name] = golden(name)
        rows = ",\n".join(f"{json.dumps(key)}: {json.dumps(done[key])}" for key in sorted(done))
        with open(PATH + ".new", "w") as file:
            file.write("{\n" + rows + "\n}\n")
        os.replace(PATH + ".new", PATH)
        print(name, done[name]["params"], flush=True)


main()

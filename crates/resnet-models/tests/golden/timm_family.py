"""Logits of timm's ResNet family on weights and inputs that a rule fills, into timm_family.json.

    python timm_family.py [NAME ...]

Without names, every network of timm's resnet and resnetv2 modules, and the like in byobnet. One object a network: the
number of parameters, the CRC-32 of the sorted lines "name [shape]" of its state dict (counters left out), and the first
eight logits of one image in evaluation. Existing entries are kept; each network is written as soon as it is done.
75 pixels give odd sizes on the way: 38, 19, 10, 5, 3. Average pooling in place of strides needs even ones.
"""
import json, os, sys, zlib
import timm, torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../rule"))
from rule import fill

BYOB = [
    "resnext26ts", "seresnext26ts", "eca_resnext26ts",
    "resnet32ts", "resnet33ts", "seresnet33ts", "eca_resnet33ts",
]
PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "timm_family.json")


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

"""Weights of families of projects, built with torch from the public description of their names, loaded by the program,
and its output compared with torch's.

    python families.py RESNET [PART OF A FAMILY'S NAME…]     # the program; torch 2, torchvision, numpy, safetensors

Prints the table that docs/weights.md quotes. Weights are random: what is compared is that each tensor arrives where it
belongs. The networks have norms that are not the identity.
"""

import pickle
import subprocess
import sys
import tempfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn

RESNET = sys.argv[1]
MOST = 1e-4


def network(arch, seed, **options):
    torch.manual_seed(seed)
    net = OWN[arch]() if arch in OWN else getattr(torchvision.models, arch)(weights=None, **options)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.uniform_(module.bias, -0.1, 0.1)
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    return net.eval()


def body(net):
    return OrderedDict((k, v) for k, v in net.state_dict().items() if not k.startswith("fc."))


def under(prefix, state):
    return OrderedDict((prefix + k, v) for k, v in state.items())


def mlp(*widths, bias=True):
    layers = []
    for a, b in zip(widths, widths[1:]):
        layers += [nn.Linear(a, b, bias=bias), nn.BatchNorm1d(b), nn.ReLU()]
    return nn.Sequential(*layers[:-2]).state_dict()


def dino(net, other):
    """facebookresearch/dino: a dict of student (DistributedDataParallel of MultiCropWrapper) and teacher."""
    head = OrderedDict({"mlp.0.weight": torch.randn(64, net.fc.in_features), "mlp.0.bias": torch.zeros(64),
                        "last_layer.weight_g": torch.ones(100, 1), "last_layer.weight_v": torch.randn(100, 64)})
    return {"student": under("module.backbone.", body(other)) | under("module.head.", head),
            "teacher": under("backbone.", body(net)) | under("head.", head),
            "optimizer": {"state": {}, "param_groups": []}, "epoch": 100, "dino_loss": {"center": torch.zeros(1, 100)}}


def byol(net, other):
    """lucidrains/byol-pytorch: online_encoder.net and target_encoder.net with projectors, and a predictor."""
    width = net.fc.in_features
    return (under("online_encoder.net.", net.state_dict()) | under("online_encoder.projector.", mlp(width, 64, 32))
            | under("online_predictor.", mlp(32, 64, 32))
            | under("target_encoder.net.", other.state_dict()) | under("target_encoder.projector.", mlp(width, 64, 32)))


def barlow_checkpoint(net, other):
    """facebookresearch/barlowtwins, checkpoint.pth: model under DistributedDataParallel with its projector and bn."""
    model = under("module.backbone.", body(net)) | under("module.projector.", mlp(net.fc.in_features, 64, 64, bias=False))
    bn = OrderedDict({"module.bn.running_mean": torch.zeros(64), "module.bn.running_var": torch.ones(64)})
    return {"epoch": 1000, "model": model | bn, "optimizer": {"state": {}, "param_groups": []}}


def barlow_published(net, other):
    """facebookresearch/barlowtwins, resnet50.pth: the backbone's state_dict without fc."""
    return body(net)


def vicreg(net, other):
    """facebookresearch/vicreg, model.pth of main_vicreg.py: backbone and projector in one state_dict under `model`."""
    model = under("module.backbone.", body(net)) | under("module.projector.", mlp(net.fc.in_features, 64, 64, bias=False))
    return {"epoch": 100, "model": model, "optimizer": {"state": {}, "param_groups": []}}


def mocov3(net, other):
    """facebookresearch/moco-v3: base_encoder and momentum_encoder, whose fc is a projector."""
    projector = mlp(net.fc.in_features, 64, 32, bias=False)
    state = (under("module.base_encoder.", body(net)) | under("module.base_encoder.fc.", projector)
             | under("module.momentum_encoder.", body(other)) | under("module.momentum_encoder.fc.", projector)
             | under("module.predictor.", mlp(32, 64, 32, bias=False)))
    return {"epoch": 100, "arch": "resnet50", "state_dict": state, "optimizer": {"state": {}}}


def solo(net, other):
    """solo-learn (Lightning): backbone, momentum_backbone, projector, an online classifier."""
    classifier = OrderedDict(weight=net.fc.weight.detach(), bias=net.fc.bias.detach())
    return {"epoch": 9, "pytorch-lightning_version": "1.9", "state_dict": under("backbone.", body(net)) | under("classifier.", classifier)
            | under("projector.", mlp(net.fc.in_features, 64, 32)) | under("momentum_backbone.", body(other))}


def openmmlab(net, other):
    """OpenMMLab's mmpretrain: backbone.* and head.fc.*, an EMA copy with dots turned into underscores, classes in meta."""
    head = OrderedDict(weight=net.fc.weight.detach(), bias=net.fc.bias.detach())
    ema = OrderedDict((f"ema_backbone_{k.replace('.', '_')}", v) for k, v in body(other).items())
    return {"meta": {"epoch": 100, "CLASSES": [f"c{i}" for i in range(net.fc.out_features)]},
            "state_dict": under("backbone.", body(net)) | under("head.fc.", head) | ema}


def detectron2(net, other):
    """detectron2: backbone.bottom_up.res2…, norms inside their convolutions, FPN beside; a plain pickle of arrays."""
    out = {}
    for name, value in body(net).items():
        parts = name.split(".")
        if parts[-1] == "num_batches_tracked":
            continue
        path = ["stem"] if len(parts) == 2 else [f"res{int(parts[0][5:]) + 1}", parts[1]]
        layer = parts[-2] if "downsample" not in parts else ("shortcut", "shortcut.norm")[int(parts[-2])]
        layer = layer.replace("bn", "conv") + ".norm" if layer.startswith("bn") else layer
        out[".".join(["backbone.bottom_up", *path, layer, parts[-1]])] = value.numpy()
    out["backbone.fpn_lateral2.weight"] = np.zeros((8, 8, 1, 1), np.float32)
    return {"model": out, "__author__": "torchvision", "matching_heuristics": True}


def detr(net, other):
    """facebookresearch/detr: backbone.0.body.* with frozen batch norms (no counters), a transformer beside."""
    frozen = OrderedDict((k, v) for k, v in body(net).items() if not k.endswith("num_batches_tracked"))
    return {"model": under("backbone.0.body.", frozen) | {"transformer.encoder.layers.0.linear1.weight": torch.zeros(8, 8),
            "class_embed.weight": torch.zeros(92, 256), "input_proj.weight": torch.zeros(256, 2048, 1, 1)}}


def clip(net, other):
    """openai/CLIP, RN50: visual.* of a ModifiedResNet."""
    visual = body(net)
    visual.update({"conv1.weight": torch.randn(32, 3, 3, 3), "conv2.weight": torch.randn(32, 32, 3, 3), "conv3.weight": torch.randn(64, 32, 3, 3),
                   "bn3.weight": torch.ones(64), "attnpool.positional_embedding": torch.randn(50, 2048), "attnpool.k_proj.weight": torch.randn(8, 2048)})
    return under("visual.", visual) | {"transformer.resblocks.0.attn.in_proj_weight": torch.zeros(8, 8), "logit_scale": torch.zeros(())}


class PreActBlock(nn.Module):
    """As in kuangliu/pytorch-cifar: the projection reads the activated input, and no norm follows the last block."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False))

    def forward(self, x):
        y = torch.relu(self.bn1(x))
        x = self.shortcut(y) if hasattr(self, "shortcut") else x
        return self.conv2(torch.relu(self.bn2(self.conv1(y)))) + x


class PreActResNet18(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, before = nn.Conv2d(3, 64, 3, 1, 1, bias=False), 64
        for stage, width in enumerate((64, 128, 256, 512), 1):
            blocks = [PreActBlock(before, width, 1 if stage == 1 else 2), PreActBlock(width, width, 1)]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            before = width
        self.linear = nn.Linear(512, 10)

    def forward(self, x):
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))
        return self.linear(x.mean((2, 3)))


class CifarResNet18(torchvision.models.ResNet):
    """The ResNet-18 of most CIFAR tutorials: torchvision's with another stem."""

    def __init__(self):
        super().__init__(torchvision.models.resnet.BasicBlock, [2, 2, 2, 2], num_classes=10)
        self.conv1, self.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()


def kuangliu(net, other):
    """kuangliu/pytorch-cifar: net under DataParallel beside acc and epoch, shortcut and linear for downsample and fc."""
    rename = lambda k: k.replace("downsample", "shortcut").replace("fc.", "linear.")
    return {"net": OrderedDict(("module." + rename(k), v) for k, v in net.state_dict().items()), "acc": 95.0, "epoch": 199}


OWN = {"preact_resnet18": PreActResNet18, "resnet18 ": CifarResNet18}
FAMILIES = [
    ("DINO", "resnet50", dino, "features"),
    ("BYOL (byol-pytorch)", "resnet50", byol, "logits"),
    ("Barlow Twins, checkpoint", "resnet50", barlow_checkpoint, "features"),
    ("Barlow Twins, published", "resnet50", barlow_published, "features"),
    ("VICReg", "resnet50", vicreg, "features"),
    ("MoCo v3", "resnet50", mocov3, "features"),
    ("solo-learn", "resnet18", solo, "logits"),
    ("OpenMMLab mmpretrain", "resnet18", openmmlab, "logits"),
    ("detectron2 (.pkl)", "resnet50", detectron2, "features"),
    ("DETR", "resnet50", detr, "features"),
    ("kuangliu ResNet18", "resnet18 ", kuangliu, "logits"),
    ("kuangliu PreActResNet18", "preact_resnet18", kuangliu, "logits"),
    ("CLIP ModifiedResNet", "resnet50", clip, "refused"),
]


def run(*arguments):
    done = subprocess.run([RESNET, *map(str, arguments)], capture_output=True, text=True)
    return done.returncode, done.stderr.strip()


def main():
    failed, wanted_names = 0, sys.argv[2:]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        torch.manual_seed(0)
        x = torch.randn(2, 3, 96, 96)
        save_file({"input": x}, folder / "x.safetensors")
        print("| family | network | compared | largest difference | said |\n| --- | --- | --- | --- | --- |")
        for name, arch, make, what in FAMILIES:
            if wanted_names and not any(part in name for part in wanted_names):
                continue
            net, other = network(arch, 1), network(arch, 2)
            path = folder / ("w.pkl" if make is detectron2 else "w.pth")
            value = make(net, other)
            if make is detectron2:
                path.write_bytes(pickle.dumps(value))
            else:
                torch.save(value, path)
            out = folder / "y.safetensors"
            out.unlink(missing_ok=True)
            code, said = run("forward", "--arch", arch.strip(), "--weights", path, "--input", folder / "x.safetensors", "--output", out)
            said = said.replace(f"{path}: ", "").replace("\n", "; ")
            if what == "refused":
                right, shown = code == 2 and "CLIP" in said, f"exit {code}"
            else:
                with torch.no_grad():
                    wanted = net(x) if what == "logits" else torch.flatten(nn.Sequential(*list(net.children())[:-1])(x), 1)
                found = load_file(out).get(what) if code == 0 else None
                far = float("inf") if found is None else float((found - wanted).abs().max() / max(1.0, float(wanted.abs().max())))
                right, shown = far <= MOST, f"{far:.1e}"
            failed += not right
            print(f"| {name} | {arch} | {what} | {shown}{'' if right else ' WRONG'} | {said} |", flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()

"""Makes the small files of tests/foreign_weights.rs: one network in the forms that other projects write.

    python make.py      # torch 2, torchvision, numpy

`tiny` is a ResNet of one basic block a stage; expected.json has its logits and features for the input of the test.
"""

import json
import pickle
from argparse import Namespace
from collections import OrderedDict
from datetime import datetime
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from torchvision.models.resnet import BasicBlock, conv1x1

here = Path(__file__).parent
CLASSES, WIDTHS = 3, (2, 3, 3, 4)


class Tiny(nn.Module):
    def __init__(self, stem=7, in_chans=3, head=None):
        super().__init__()
        self.conv1 = nn.Conv2d(in_chans, 2, stem, 2 if stem == 7 else 1, stem // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(2)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == 7 else nn.Identity()
        before = 2
        for stage, width in enumerate(WIDTHS, 1):
            stride = 1 if stage == 1 else 2
            down = None
            if stride != 1 or before != width:
                down = nn.Sequential(conv1x1(before, width, stride), nn.BatchNorm2d(width))
            setattr(self, f"layer{stage}", nn.Sequential(BasicBlock(before, width, stride, down)))
            before = width
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(before, CLASSES) if head is None else head

    def features(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return torch.flatten(self.avgpool(x), 1)

    def forward(self, x):
        return self.fc(self.features(x))


def network(seed, **options):
    torch.manual_seed(seed)
    net = Tiny(**options)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 1.5)
    return net.eval()


def images(channels=3):
    values = torch.arange(channels * 32 * 32)
    return ((values * 37 % 101).float() - 50).div(50).reshape(1, channels, 32, 32)


def under(prefix, state):
    return OrderedDict((prefix + name, value) for name, value in state.items())


def without(state, *starts):
    return OrderedDict((name, value) for name, value in state.items() if not name.startswith(starts))


def mlp():
    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).state_dict()


def children(state):
    numbers = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    return OrderedDict((f"{numbers[n.split('.')[0]]}.{n.split('.', 1)[1]}", v) for n, v in state.items())


def detectron(state):
    out = {}
    for name, value in state.items():
        parts = name.split(".")
        if parts[-1] == "num_batches_tracked":
            continue
        path = ["stem"] if len(parts) == 2 else [f"res{int(parts[0][5:]) + 1}", parts[1]]
        layer = parts[-2] if "downsample" not in parts else ("shortcut", "shortcut.norm")[int(parts[-2])]
        layer = layer.replace("bn", "conv") + ".norm" if layer.startswith("bn") else layer
        out[".".join([*path, layer, parts[-1]])] = value.numpy()
    return out


def fused(net):
    for name, module in list(net.named_modules()):
        pairs = [("conv1", "bn1"), ("conv2", "bn2"), ("0", "1")]
        for conv, norm in pairs:
            if isinstance(getattr(module, conv, None), nn.Conv2d) and isinstance(getattr(module, norm, None), nn.BatchNorm2d):
                setattr(module, conv, nn.utils.fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm)))
                setattr(module, norm, nn.Identity())
    return net


def main():
    net, other = network(1), network(2)
    state, momentum = net.state_dict(), other.state_dict()
    body, momentum_body = without(state, "fc."), without(momentum, "fc.")
    save = lambda value, name, **options: torch.save(value, here / name, **options)
    expected = {}
    with torch.no_grad():
        x = images()
        expected["features"], expected["logits"] = net.features(x)[0].tolist(), net(x)[0].tolist()
        expected["other_features"], expected["other_logits"] = other.features(x)[0].tolist(), other(x)[0].tolist()

    moco = OrderedDict({"module.queue": torch.randn(2, 8), "module.queue_ptr": torch.zeros(1, dtype=torch.long)})
    moco.update(under("module.encoder_q.", body) | under("module.encoder_q.fc.", mlp()))
    moco.update(under("module.encoder_k.", momentum_body) | under("module.encoder_k.fc.", mlp()))
    save({"epoch": 200, "state_dict": moco, "optimizer": torch.optim.SGD(net.parameters(), 0.1, momentum=0.9).state_dict()}, "moco.pth")
    save({"student": under("module.backbone.", momentum_body) | under("module.head.mlp.", mlp()),
          "teacher": under("backbone.", body) | under("head.mlp.", mlp()), "epoch": 3, "dino_loss": {"center": torch.zeros(1, 4)}}, "dino.pth")
    save({"state_dict": under("model.", state) | {"criterion.weight": torch.ones(3), "val_acc.confmat": torch.zeros(3, 3)},
          "hyper_parameters": {"opt": Namespace(wd=1e-4)}, "optimizer_states": [{}], "pytorch-lightning_version": "2.4.0"}, "lightning.ckpt")
    save({"epoch": 9, "model": network(1).half(), "ema": None, "updates": 100, "optimizer": None, "date": datetime(2024, 4, 10).isoformat()}, "module_in_dict.pt")
    save(nn.DataParallel(network(1)), "whole_module.pt")
    save(network(1), "whole_module_legacy.pt", _use_new_zipfile_serialization=False)
    head = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).state_dict()
    save({"model": under("0.", children(body)) | under("1.", head), "opt": {"hypers": [], "state": []}}, "fastai.pth")
    save(OrderedDict(children(body)), "children.pth")
    save({"state_dict": under("backbone.", body) | under("head.fc.", OrderedDict(weight=state["fc.weight"], bias=state["fc.bias"]))
          | OrderedDict((f"ema_backbone_{n.replace('.', '_')}", v) for n, v in momentum_body.items()),
          "meta": {"CLASSES": ("ant", "bee", "cat"), "epoch": 100}}, "openmmlab.pth")
    with open(here / "detectron2.pkl", "wb") as file:
        pickle.dump({"model": detectron(body), "__author__": "torchvision", "matching_heuristics": True}, file)
    save(OrderedDict(under("fc.1.", OrderedDict(weight=state["fc.weight"], bias=state["fc.bias"])), **body), "fc_sequential.pth")
    save({"state_dict": state, "state_dict_ema": momentum, "arch": "tiny", "args": Namespace(), "version": 2, "epoch": 1}, "timm.pth.tar")
    save(state | {"fc.weight": state["fc.weight"]}, "plain.pth")

    normed = network(1)
    nn.utils.weight_norm(normed.layer1[0].conv1)
    parametrizations.weight_norm(normed.layer2[0].conv1)
    prune.random_unstructured(normed.layer3[0].conv1, "weight", 0.4)
    normed.layer4[0].conv1 = nn.utils.spectral_norm(normed.layer4[0].conv1)
    parametrizations.spectral_norm(normed.layer4[0].conv2)
    normed.eval()
    save(normed.state_dict(), "parametrized.pth")
    folded = fused(network(1))
    save(folded.state_dict(), "folded.pth")
    biased = network(1)
    biased.conv1 = nn.Conv2d(1, 2, 7, 2, 3)
    biased.eval()
    save(biased.state_dict(), "grey_biased.pth")
    cifar = network(3, stem=3)
    save({"net": under("module.", OrderedDict((n.replace("downsample", "shortcut").replace("fc.", "linear."), v) for n, v in cifar.state_dict().items())),
          "acc": 95.16, "epoch": 199}, "cifar.pth")
    with torch.no_grad():
        expected["parametrized"] = normed(x)[0].tolist()
        expected["folded"] = folded(x)[0].tolist()
        expected["grey_biased"] = biased(images(1))[0].tolist()
        expected["cifar"] = cifar(x)[0].tolist()
    (here / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()

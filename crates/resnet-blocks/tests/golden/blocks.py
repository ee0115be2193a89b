"""Blocks in training mode, forward and backward in f64, into blocks.json.

    python blocks.py

Two kinds of reference: units of He et al. 2016 (arXiv 1603.05027) written in PyTorch by the paper's figures, and the
blocks of timm and torchvision themselves. Parameters, the input and the weights of the loss come from a rule
(../../resnet-models/tests/rule); what is kept of a tensor is its inner product with another tensor of the rule, so that
every value of it counts. The loss is the inner product of the output with the rule's tensor "loss".
"""
import json, os, sys
import torch
import torch.nn.functional as F
import torchvision
from functools import partial
from timm.layers import BatchNormAct2d, create_conv2d
from timm.models import resnet as timm_resnet, resnetv2 as timm_v2
from torch import nn

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../resnet-models/tests/rule"))
import rule


def fill(name, shape):
    return rule.fill(name, shape).double()


class Unit(nn.Module):
    """A residual unit by Fig. 2 (what stands on the shortcut) and Fig. 4 (where norm and ReLU stand)."""

    def __init__(self, bottleneck, cin, cout, stride, order, shortcut, merge, shared):
        super().__init__()
        self.order, self.merge, self.shared, self.stride, self.cout = order, merge, shared, stride, cout
        if bottleneck:
            mid = cout // 4
            sizes = [(cin, mid, 1, stride), (mid, mid, 3, 1), (mid, cout, 1, 1)]
        else:
            sizes = [(cin, cout, 3, stride), (cout, cout, 3, 1)]
        self.n = len(sizes)
        for i, (a, b, k, s) in enumerate(sizes, 1):
            setattr(self, f"conv{i}", nn.Conv2d(a, b, k, s, k // 2, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(a if order == "pre_activation" else b))
        self.project = shortcut == "c" or (shortcut == "b" and (stride != 1 or cin != cout))
        if self.project:
            layers = [nn.Conv2d(cin, cout, 1, stride, bias=False)]
            if order != "pre_activation":
                layers.append(nn.BatchNorm2d(cout))
            self.downsample = nn.Sequential(*layers)
        if isinstance(merge, dict) and ("exclusive_gate" in merge or "shortcut_gate" in merge):
            self.gate = nn.Conv2d(cin, cout, 1, stride)

    def conv(self, i, x):
        return getattr(self, f"conv{i}")(x)

    def bn(self, i, x):
        return getattr(self, f"bn{i}")(x)

    def h(self, x):
        if self.project:
            return self.downsample(x)
        if self.stride == 1 and x.shape[1] == self.cout:
            return x
        x = x[:, :, :: self.stride, :: self.stride]  # option A
        extra = self.cout - x.shape[1]
        return F.pad(x, (0, 0, 0, 0, extra // 2, extra - extra // 2))

    def add(self, x, f):
        s, m = self.h(x), self.merge
        if m == "identity":
            return s + f
        if "scaled" in m:
            return m["scaled"]["shortcut"] * s + m["scaled"]["branch"] * f
        g = torch.sigmoid(self.gate(x))
        if "exclusive_gate" in m:
            return (1 - g) * s + g * f
        return (1 - g) * s + f

    def forward(self, x):
        last = self.n
        if self.order == "pre_activation":  # Fig. 4e
            f = F.relu(self.bn(1, x))
            start = f if self.shared or self.project else x
            f = self.conv(1, f)
            for i in range(2, last + 1):
                f = self.conv(i, F.relu(self.bn(i, f)))
            return self.add(start, f)
        if self.order == "relu_pre_activation":  # Fig. 4d
            f = F.relu(x)
            start = f if self.shared or self.project else x
            f = self.bn(1, self.conv(1, f))
            for i in range(2, last + 1):
                f = self.bn(i, self.conv(i, F.relu(f)))
            return self.add(start, f)
        f = x
        for i in range(1, last):
            f = F.relu(self.bn(i, self.conv(i, f)))
        f = self.conv(last, f)
        if self.order == "original":  # Fig. 4a
            return F.relu(self.add(x, self.bn(last, f)))
        if self.order == "norm_after_addition":  # Fig. 4b
            return F.relu(self.bn(last, self.add(x, f)))
        assert self.order == "relu_before_addition"  # Fig. 4c
        return self.add(x, F.relu(self.bn(last, f)))


def he2016():
    orders = ["original", "norm_after_addition", "relu_before_addition", "relu_pre_activation", "pre_activation"]
    merges = [
        {"scaled": {"shortcut": 0.0, "branch": 1.0}},
        {"scaled": {"shortcut": 0.5, "branch": 1.0}},
        {"scaled": {"shortcut": 0.5, "branch": 0.5}},
        {"exclusive_gate": {"bias": -6.0}},
        {"shortcut_gate": {"bias": 0.0}},
    ]
    shapes = [(8, 1), (16, 2)]
    for bottleneck in [False, True]:
        branch = {"bottleneck": "first"} if bottleneck else "basic"
        for order in orders:
            for outputs, stride in shapes:
                for shortcut in ["a", "b", "c"]:
                    for shared in [False, True]:
                        if shared and not (order.endswith("pre_activation") and stride == 1 and shortcut != "c"):
                            continue
                        module = Unit(bottleneck, 8, outputs, stride, order, shortcut, "identity", shared)
                        block = dict(
                            branch=branch, outputs=outputs, stride=stride, order=order, shortcut=shortcut, shared=shared
                        )
                        yield "He et al. 2016, Fig. 4", block, module
                for merge in merges:
                    module = Unit(bottleneck, 8, outputs, stride, order, "a", merge, False)
                    block = dict(branch=branch, outputs=outputs, stride=stride, order=order, shortcut="a", merge=merge)
                    yield "He et al. 2016, Fig. 2", block, module


def libraries():
    middle = {"bottleneck": "middle"}
    for outputs, stride in [(8, 1), (16, 2)]:
        changes = stride != 1 or outputs != 8

        def down():
            conv = nn.Conv2d(8, outputs, 1, stride, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(outputs)) if changes else None

        base = dict(outputs=outputs, stride=stride, order="original", shortcut="b")
        for module in [timm_resnet.BasicBlock, torchvision.models.resnet.BasicBlock]:
            yield module.__module__, dict(base, branch="basic"), module(8, outputs, stride, down())
        planes = outputs // 4
        for module in [timm_resnet.Bottleneck, torchvision.models.resnet.Bottleneck]:
            yield module.__module__, dict(base, branch=middle), module(8, planes, stride, down())
        # ResNeXt, and wide networks: twice the channels within.
        t = torchvision.models.resnet.Bottleneck(8, planes, stride, down(), groups=4, base_width=128)
        inner = int(planes * 128 / 64) * 4
        yield "torchvision, ResNeXt", dict(base, branch=middle, inner=inner, groups=4), t
        t = timm_resnet.Bottleneck(8, planes, stride, down(), cardinality=4, base_width=128)
        yield "timm, ResNeXt", dict(base, branch=middle, inner=inner, groups=4), t
        t = torchvision.models.resnet.Bottleneck(8, planes, stride, down(), base_width=128)
        yield "torchvision, wide", dict(base, branch=middle, inner=2 * planes), t
        se = {"squeeze_excitation": {"reduction": 16}}
        for module, branch, width in [(timm_resnet.BasicBlock, "basic", outputs), (timm_resnet.Bottleneck, middle, planes)]:
            yield "timm, SE", dict(base, branch=branch, attention=se), module(8, width, stride, down(), attn_layer="se")
            eca = dict(base, branch=branch, attention="efficient_channel")
            yield "timm, ECA", eca, module(8, width, stride, down(), attn_layer="eca")
        norm = partial(BatchNormAct2d, act_layer=nn.ReLU)
        kw = dict(stride=stride, act_layer=nn.ReLU, conv_layer=create_conv2d, norm_layer=norm)
        kw["proj_layer"] = timm_v2.DownsampleConv if changes else None
        pre = dict(base, order="pre_activation", naming="res_net_v2")
        yield "timm, pre-activation", dict(pre, branch="basic"), timm_v2.PreActBasic(8, outputs, **kw)
        # timm makes the channels within a multiple of 8.
        yield "timm, pre-activation", dict(pre, branch=middle, inner=8), timm_v2.PreActBottleneck(8, outputs, **kw)
        yield (
            "timm, pre-activation, groups",
            dict(pre, branch="basic", groups=4),
            timm_v2.PreActBasic(8, outputs, groups=4, **kw),
        )


def product(a, b):
    return float(f"{(a.detach() * b).sum().item():.12g}")


def golden(source, block, module):
    module = module.double().train()
    with torch.no_grad():
        for key, value in module.state_dict().items():
            if not key.endswith("num_batches_tracked"):
                value.copy_(fill(key, tuple(value.shape)))
    x = fill("input", (3, 8, 6, 5)).requires_grad_()
    y = module(x)
    weights = fill("loss", tuple(y.shape))
    (y * weights).sum().backward()
    state = module.state_dict()
    return {
        "source": source,
        "block": block,
        "loss": product(y, weights),
        "input": product(x.grad, fill("probe", tuple(x.shape))),
        "parameters": {k: product(p.grad, fill(k + "probe", tuple(p.shape))) for k, p in module.named_parameters()},
        "running": {k: product(v, fill(k + "probe", tuple(v.shape))) for k, v in state.items() if "running" in k},
    }


def main():
    torch.manual_seed(0)
    cases = [golden(*case) for case in [*he2016(), *libraries()]]
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "blocks.json")
    with open(path, "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
    print(len(cases), "blocks, torch", torch.__version__)


main()

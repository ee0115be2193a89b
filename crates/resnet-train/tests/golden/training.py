"""The parts of a training by PyTorch and timm, into training.json.

    python training.py

Numbers come from the rule of ../../../resnet-models/tests/rule, so that only results are kept: losses and their gradients,
optimizers over twenty steps, averages of weights and buffers, schedules, accuracy over uneven batches, and a training of
two steps of torchvision's resnet18 whose norms see a part of each batch.
"""
import json, os, sys
import numpy as np, timm, torch, torchvision
import torch.nn.functional as F
from timm.data.mixup import mixup_target
from timm.loss import BinaryCrossEntropy, SoftTargetCrossEntropy
from timm.optim import Lamb
from timm.optim import param_groups_weight_decay
from timm.scheduler import CosineLRScheduler, PolyLRScheduler
from timm.utils import AverageMeter, ModelEmaV2, accuracy
from torch.optim.lr_scheduler import (CosineAnnealingLR, LinearLR, MultiStepLR, OneCycleLR, PolynomialLR,
                                      ReduceLROnPlateau, SequentialLR)

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../../resnet-models/tests/rule"))
from rule import fill


def numbers(t):
    return [float(f"{v:.9g}") for v in torch.as_tensor(t).flatten().tolist()]


def losses():
    logits = fill("input", (7, 11)) * 4
    labels = torch.arange(7) * 3 % 11
    others = labels.flip(0)
    weight = torch.arange(1, 12) / 4
    kept = {}

    def keep(name, f):
        x = logits.clone().requires_grad_()
        loss = f(x)
        loss.backward()
        kept[name] = numbers(torch.cat([loss.detach()[None], x.grad.flatten()]))

    for s in (0.0, 0.1):
        soft = mixup_target(labels, 11, lam=0.7, smoothing=s)
        kept[f"mixed {s}"] = numbers(soft)
        keep(f"hard {s}", lambda x: F.cross_entropy(x, labels, label_smoothing=s))
        keep(f"soft {s}", lambda x: SoftTargetCrossEntropy()(x, soft))
        keep(f"binary hard {s}", lambda x: BinaryCrossEntropy(s, None)(x, labels))
        keep(f"binary soft {s}", lambda x: BinaryCrossEntropy(0.0, 0.2)(x, soft))
        keep(f"weighted {s}", lambda x: F.cross_entropy(x, labels, weight=weight, label_smoothing=s))
    assert torch.equal(others, labels.flip(0))
    return kept


def steps(make):
    """Twenty steps on a matrix and a vector at a rate that moves, gradients clipped to a norm of 1."""
    w, b = (torch.nn.Parameter(fill(n, s)) for n, s in (("w", (5, 6)), ("b.bias", (6,))))
    opt = make(w, b)
    for t in range(20):
        for group in opt.param_groups:
            group["lr"] = 0.05 / (1 + t)
        w.grad, b.grad = fill(f"w{t}", (5, 6)) * (3 if t % 2 else 0.2), fill(f"b{t}.bias", (6,))
        torch.nn.utils.clip_grad_norm_([w, b], 1.0)
        opt.step()
    return numbers(torch.cat([w.detach().flatten(), b.detach()]))


def optimizers():
    sgd = lambda **k: lambda w, b: torch.optim.SGD([w, b], lr=0.1, **k)
    groups = lambda w, b: [dict(params=[w], weight_decay=0.02), dict(params=[b], weight_decay=0.0)]
    return {
        "sgd": steps(sgd(momentum=0.9, weight_decay=1e-4)),
        "nesterov": steps(sgd(momentum=0.9, weight_decay=5e-2, nesterov=True)),
        "sgd without decay of biases": steps(lambda w, b: torch.optim.SGD(groups(w, b), lr=0.1, momentum=0.9)),
        "lamb": steps(lambda w, b: Lamb(groups(w, b), lr=0.1)),
        "lamb with decay of all": steps(lambda w, b: Lamb([w, b], lr=0.1, weight_decay=0.02)),
    }


def average():
    """A convolution and a norm, both moved by the rule; one value each."""
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1, bias=False), torch.nn.BatchNorm2d(1))
    torch.nn.init.ones_(net[0].weight)
    ema, rows = ModelEmaV2(net, decay=0.75), []
    for t in range(10):
        with torch.no_grad():
            for i, value in enumerate(v for k, v in net.state_dict().items() if "num" not in k):
                value.fill_(fill(f"{i}", (10,))[t].item())
        ema.update(net)
        rows.append(numbers([v.item() for k, v in ema.module.state_dict().items() if "num" not in k]))
    return rows


def schedules():
    def optimizer():
        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)

    def of_torch(make, n):
        o = optimizer()
        s, out = make(o), []
        for _ in range(n):
            out.append(o.param_groups[0]["lr"])
            o.step()
            s.step()
        return numbers(torch.tensor(out, dtype=torch.float64))

    def of_timm(make, n):
        o = optimizer()
        s, out = make(o), []
        for t in range(n):
            s.step(t)
            out.append(o.param_groups[0]["lr"])
        return numbers(torch.tensor(out, dtype=torch.float64))

    def plateau():
        o = optimizer()
        s = ReduceLROnPlateau(o, factor=0.1, patience=3, threshold=0.1, threshold_mode="abs")
        out = []
        for t in range(40):
            s.step(60 / (1 + t) ** 0.5 // 4 * 4)
            out.append(o.param_groups[0]["lr"])
        return numbers(torch.tensor(out, dtype=torch.float64))

    warm = lambda o, then: SequentialLR(o, [LinearLR(o, 0.25, 1.0, 10), then(o)], [10])
    timm_warm = dict(t_initial=100, lr_min=1e-3, warmup_t=10, warmup_lr_init=0.1)
    return {
        "multi-step": of_torch(lambda o: MultiStepLR(o, [30, 60], 0.1), 100),
        "cosine after a warm-up (PyTorch)": of_torch(lambda o: warm(o, lambda o: CosineAnnealingLR(o, 90, 1e-3)), 100),
        "polynomial after a warm-up (PyTorch)": of_torch(lambda o: warm(o, lambda o: PolynomialLR(o, 90, 2.0)), 100),
        "one cycle": of_torch(lambda o: OneCycleLR(o, 0.4, total_steps=100, cycle_momentum=False), 100),
        "cosine with a warm-up (timm)": of_timm(lambda o: CosineLRScheduler(o, **timm_warm), 101),
        "polynomial with a warm-up (timm)": of_timm(lambda o: PolyLRScheduler(o, power=2.0, **timm_warm), 101),
        "plateau": plateau(),
    }


def metrics():
    """Three batches, the last of one image, of logits without equal values."""
    logits, labels = fill("input", (21, 11)), torch.arange(21) * 5 % 11
    meters = [AverageMeter() for _ in range(3)]
    for x, y in zip(logits.split(10), labels.split(10)):
        for meter, value in zip(meters, [F.cross_entropy(x, y), *accuracy(x, y, topk=(1, 5))]):
            meter.update(value.item(), len(y))
    weight = torch.arange(1, 12) / 4
    return numbers([m.avg for m in meters] + [F.cross_entropy(logits, labels, weight=weight).item()])


def undecayed():
    """Which parameters of a network timm's groups leave without weight decay, and which norms begin at 0."""
    net = timm.create_model("resnet50", num_classes=10)
    names = {id(p): n for n, p in net.named_parameters()}
    left = next(g for g in param_groups_weight_decay(net, 0.02) if g["weight_decay"] == 0.0)
    return {
        "without decay": sorted(names[id(p)] for p in left["params"]),
        "zero": sorted(n for n, p in net.named_parameters() if p.abs().max() == 0 and n.endswith("weight")),
    }


def image(index, height, width):
    y, x = np.mgrid[0:height, 0:width]
    planes = [128 + 100 * np.sin(0.05 * (1 + index) * x + 0.07 * (1 + c) * y + index) for c in range(3)]
    return torch.tensor(np.floor(np.stack(planes)).astype(np.float32)) / 255


# Ten images in batches of 7 and 3, as this project's loader orders them with seed 5.
ORDER = [[1, 7, 8, 0, 2, 6, 5], [4, 9, 3]]


def training(norm_batch_size):
    net = torchvision.models.resnet18(num_classes=10)
    with torch.no_grad():
        for key, value in net.state_dict().items():
            if not key.endswith("num_batches_tracked"):
                value.copy_(fill(key, tuple(value.shape)))
    opt = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    ema, seen = ModelEmaV2(net, decay=0.6), []
    for batch in ORDER:
        x = (torch.stack([image(i, 48, 48) for i in batch]) - 0.5) / 0.25
        y = torch.tensor(batch)
        parts = -(-len(batch) // norm_batch_size)
        cuts = [i * len(batch) // parts for i in range(parts + 1)]
        opt.zero_grad()
        total = 0
        for a, b in zip(cuts, cuts[1:]):
            loss = F.cross_entropy(net(x[a:b]), y[a:b], reduction="sum") / len(batch)
            loss.backward()
            total += loss.item()
        seen.append(total)
        opt.step()
        ema.update(net)
    probe = lambda state: {
        k: float(f"{(v.double() * fill(k + 'probe', tuple(v.shape)).double()).sum().item():.9g}")
        for k, v in state.items()
        if "num_batches" not in k
    }
    ema.module.eval()
    x, y = (torch.stack([image(i, 48, 48) for i in range(10)]) - 0.5) / 0.25, torch.arange(10)
    with torch.no_grad():
        loss = F.cross_entropy(ema.module(x), y).item()
    return {"losses": numbers(seen), "weights": probe(net.state_dict()), "average": probe(ema.module.state_dict()),
            "loss of the average": loss}


torch.set_num_threads(1)
kept = {"losses": losses(), "optimizers": optimizers(), "average": average(), "schedules": schedules(),
        "metrics": metrics(), "resnet50": undecayed(), "order": ORDER, "training": training(4)}
with open(os.path.join(HERE, "training.json"), "w") as file:
    file.write(json.dumps(kept) + "\n")
print(torch.__version__, timm.__version__, torchvision.__version__)

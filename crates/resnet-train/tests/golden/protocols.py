"""The papers' evaluation protocols and batch-norm re-estimation by torchvision and PyTorch, into protocols.json.

    python protocols.py

The network is torchvision's resnet18 for ten classes, whose weights a rule fills (../../resnet-models/tests/rule); the
images come from a formula. Kept are each image's mean probabilities over ten crops (Resize(64), TenCrop(56)) and over
whole images at the shorter sides 56, 64, 96, 120 and 160 with their mirror images, a quarter of the sides for 224
pixels; and the statistics that torch.optim.swa_utils.update_bn leaves, as inner products with tensors of the rule.
"""
import json, os, sys
import numpy as np, torch, torchvision
from PIL import Image
from torchvision import transforms as T

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../resnet-models/tests/rule"))
from rule import fill


def image(index, height, width):
    """A wave in each channel, of another length in each image."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [128 + 100 * np.sin(0.05 * (1 + index) * x + 0.07 * (1 + c) * y + index) for c in range(3)]
    return Image.fromarray(np.floor(np.stack(planes, -1)).astype(np.uint8))


def network():
    net = torchvision.models.resnet18(num_classes=10)
    with torch.no_grad():
        for key, value in net.state_dict().items():
            if not key.endswith("num_batches_tracked"):
                value.copy_(fill(key, tuple(value.shape)))
    return net


normal = T.Compose([T.ToTensor(), T.Normalize([0.5] * 3, [0.25] * 3)])
ten = T.Compose([T.Resize(64), T.TenCrop(56)])


def ten_crops(picture):
    return [normal(crop) for crop in ten(picture)]


def scales(picture):
    whole = [T.Resize(side)(picture) for side in [56, 64, 96, 120, 160]]
    return [normal(p) for w in whole for p in (w, T.functional.hflip(w))]


def mean_probabilities(net, views):
    rows = [torch.softmax(net(view[None]), 1)[0] for view in views]
    return [float(f"{p:.7g}") for p in torch.stack(rows).mean(0).tolist()]


def main():
    net = network().eval()
    with torch.no_grad():
        pictures = [image(i, 70 + 3 * i, 100) for i in range(4)]
        kept = {
            "ten": [mean_probabilities(net, ten_crops(p)) for p in pictures],
            "multiscale": [mean_probabilities(net, scales(p)) for p in pictures],
        }
        loader = [torch.stack([normal(image(8 * b + i, 56, 56)) for i in range(8)]) for b in range(3)]
        torch.optim.swa_utils.update_bn(loader, net)
        kept["statistics"] = {
            k: float(f"{(v.double() * fill(k + 'probe', tuple(v.shape)).double()).sum().item():.9g}")
            for k, v in net.state_dict().items()
            if "running" in k
        }
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "protocols.json")
    with open(path, "w") as file:
        file.write(json.dumps(kept, indent=1) + "\n")
    print(torch.__version__, torchvision.__version__, kept["ten"][0][:4], kept["multiscale"][0][:4])


main()

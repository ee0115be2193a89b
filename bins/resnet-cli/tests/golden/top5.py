"""The five classes that timm finds in each photo, into top5.json.

    python top5.py IMAGENET_SAMPLE

Weights are those of a rule, in place of a download: crates/resnet-models/tests/golden/timm_family.py. Only the head's bias
is written too: it makes the mean of each logit over all photos 0, so that photos differ in their classes. Pictures go
through timm's own evaluation transform. Written for each photo: the labels of the five greatest logits, those logits and
the sixth, from which it can be seen whether the order is a matter of rounding.
Needs: pip install timm torch pillow.
"""
import json, os, sys
from pathlib import Path

import timm, torch
from PIL import Image
from timm.data import create_transform

HERE = Path(__file__).resolve().parent
RULE = HERE.parents[3] / "crates/resnet-models/tests/golden/timm_family.py"
CONFIG = dict(input_size=(3, 224, 224), interpolation="bicubic", crop_pct=0.95,
              mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def rule():
    scope = {"__file__": str(RULE), "__name__": "rule"}
    # All of the script but its last line, which runs it.
    exec(RULE.read_text().rsplit("main()", 1)[0], scope)
    return scope["fill"]


def main(folder):
    fill, model = rule(), timm.create_model("resnet18", pretrained=False).eval()
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if not key.endswith("num_batches_tracked"):
                value.copy_(fill(key, tuple(value.shape)))
    transform = create_transform(**CONFIG, is_training=False)
    paths, logits = sorted(Path(folder).glob("*/*.JPEG")), []
    with torch.no_grad():
        for path in paths:
            logits.append(model(transform(Image.open(path).convert("RGB"))[None])[0])
        logits = torch.stack(logits)
        short = lambda values: [float(f"{v:.7g}") for v in values.tolist()]
        bias = short(model.fc.bias - logits.mean(0))
        logits = logits - model.fc.bias + torch.tensor(bias)
    rows = {"bias": bias}
    for path, row in zip(paths, logits):
        top = row.topk(6)
        rows[f"{path.parent.name}/{path.name}"] = {"top": top.indices[:5].tolist(), "logits": short(top.values)}
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in rows.items())
    (HERE / "top5.json").write_text("{\n" + lines + "\n}\n")


main(sys.argv[1])

"""Logits of timm's networks made with arguments, on weights and inputs that a rule fills, into timm_arguments.json.

    python timm_arguments.py

One object a row: the network, its arguments, the size of the image, and the first eight logits in evaluation.
"""
import json, os, sys
import timm, torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../rule"))
from rule import fill

ROWS = [
    ("resnet18", dict(output_stride=8)),
    ("resnet50", dict(output_stride=16, in_chans=1)),
    ("resnext50_32x4d", dict(output_stride=8, num_classes=11)),
    ("resnet26t", dict(output_stride=32, in_chans=5)),
    ("senet154", dict(output_stride=8, layers=[1, 1, 1, 1])),
    ("seresnet18", dict(output_stride=16, num_classes=7, drop_rate=0.3)),
    ("ecaresnet26t", dict(num_classes=0, in_chans=2)),
    ("resnetv2_50", dict(output_stride=8)),
    ("resnetv2_50x1_bit", dict(output_stride=16, in_chans=4)),
    ("seresnext26ts", dict(num_classes=3, in_chans=1)),
]
PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "timm_arguments.json")
rows = []
for name, arguments in ROWS:
    model = timm.create_model(name, pretrained=False, **arguments).eval()
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if not key.endswith("num_batches_tracked"):
                value.copy_(fill(key, tuple(value.shape)))
        x = fill("input", (1, arguments.get("in_chans", 3), 75, 75))
        logits = model(x)[0, :8]
        stages = [list(m.shape[2:]) for m in (model.forward_intermediates(x, intermediates_only=True))]
    rows.append(dict(name=name, arguments=arguments, maps=stages, logits=[float(f"{v:.7g}") for v in logits.tolist()]))
    print(name, arguments, stages, flush=True)
with open(PATH, "w") as file:
    file.write("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")

"""Writes transforms.json: what torchvision's transforms.v2 gives for given parameters.

    python test/golden/transforms.py

A case: {name, fn, args, out}, with `fn` the TypeScript function and a tensor as {shape, data}. `mix` holds MixUp and CutMix for given
shares and boxes; `boxes` CutMix's rectangles.
"""
import json
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

torch.manual_seed(5)


def encode(x):
    if isinstance(x, torch.Tensor):
        return {"shape": list(x.shape), "data": [float(f"{v:.8g}") for v in x.flatten().tolist()]}
    return x


image = torch.rand(3, 5, 6)
# Grays, pure colours and two equal channels: where hue is decided by ties.
image[:, 0, :] = torch.tensor([[0.0, 1, 1, 0, 0.5, 0.5], [0.0, 1, 0, 1, 0.5, 0.5], [0.0, 1, 0, 1, 0.5, 0.25]])
two = torch.rand(2, 3, 4, 4)
gray = torch.rand(1, 4, 5)
cases = []


def case(fn, out, *args):
    cases.append({"fn": fn, "args": [encode(a) for a in args], "out": encode(out)})


for x in (image, two):
    case("normalize", F.normalize(x, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), x, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    case("horizontalFlip", F.horizontal_flip(x), x)
    case("verticalFlip", F.vertical_flip(x), x)
    case("grayscale", F.rgb_to_grayscale(x), x)
    case("crop", F.crop(x, 1, 2, 3, 2), x, {"top": 1, "left": 2, "height": 3, "width": 2})
    case("erase", F.erase(x, 1, 1, 2, 3, torch.zeros(1)), x, {"top": 1, "left": 1, "height": 2, "width": 3})
    values = [0.1, 0.2, 0.3]
    case("erase", F.erase(x, 0, 1, 2, 3, torch.tensor(values)[:, None, None].expand(3, 2, 3)), x, {"top": 0, "left": 1, "height": 2, "width": 3}, values)
for size in (1, 2, 3, 4):
    case("centerCrop", F.center_crop(image, [size, size]), image, size)
    case("centerCrop", F.center_crop(image, [size, size + 1]), image, [size, size + 1])
for x in (image, two, gray):
    for factor in (0, 0.4, 1, 1.7):
        case("adjustBrightness", F.adjust_brightness(x, factor), x, factor)
        case("adjustContrast", F.adjust_contrast(x, factor), x, factor)
        case("adjustSaturation", F.adjust_saturation(x, factor), x, factor)
    for turn in (-0.5, -0.21, 0, 0.1, 0.5):
        case("adjustHue", F.adjust_hue(x, turn), x, turn)

padded = []
for padding, mode, fill in ((2, "constant", 0), ([1, 2], "constant", 0.5), ([1, 0, 2, 3], "edge", 0), (2, "reflect", 0)):
    out = F.pad(image, padding, fill=fill, padding_mode=mode)
    padded.append({"image": encode(image), "padding": padding, "paddingMode": mode, "fill": fill, "out": encode(out)})

batch, labels = torch.rand(3, 1, 6, 8), torch.tensor([2, 0, 1])
mix, boxes = [], []
for lam in (0.0, 0.3, 0.85, 1.0):
    made = v2.MixUp(num_classes=3)
    params = {"labels": labels, "batch_size": 3, "lam": lam}
    mix.append({"fn": "mixup", "lambda": lam, "images": encode(made.transform(batch, params)), "targets": encode(made.transform(labels, params))})
    for row, column in ((0, 0), (2, 7), (5, 3)):
        made = v2.CutMix(num_classes=3)
        made._dist = SimpleNamespace(sample=lambda shape: lam)
        centre = iter([column, row])
        with patch.object(torch, "randint", lambda *args, **options: torch.tensor([next(centre)])):
            params = made.make_params([batch])
        x1, y1, x2, y2 = params["box"]
        boxes.append({"lambda": lam, "row": row, "column": column, "box": {"top": y1, "left": x1, "height": y2 - y1, "width": x2 - x1}})
        adjusted = params["lam_adjusted"]
        params = {**params, "labels": labels, "batch_size": 3}
        mix.append({"fn": "cutmix", "lambda": adjusted, "box": boxes[-1]["box"], "images": encode(made.transform(batch, params)), "targets": encode(made.transform(labels, params))})

out = {"cases": cases, "padded": padded, "batch": encode(batch), "labels": labels.tolist(), "mix": mix, "boxes": boxes}
Path(__file__).with_name("transforms.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")

"""Writes images.json: what Pillow decodes, and what torchvision's transforms make of Pillow's images.

    python test/golden/images.py

Needs torchvision 0.26 and Pillow. Files and pixels (rows of RGB bytes) are in base64. `files`: images and what `convert('RGB')` gives;
`steps`: the uint8 step of that name with those arguments on `image`; `augment`: RandAugment's operations by index, as [positive,
negative]; `floats`: ToTensor and Normalize; `areas`: RandomResizedCrop's part if no try fits, as [height, width, [top, left, height, width]].
"""
import base64
import io
import json
import struct
import zlib
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import autoaugment
from torchvision.transforms import transforms as T
from torchvision.transforms import functional as F
from torchvision.transforms.functional import InterpolationMode as Mode

rng = np.random.default_rng(3)


def photo(height, width):
    """Smooth colours with an edge and some noise."""
    y, x = np.mgrid[:height, :width]
    planes = [120 + 90 * np.sin(x / a + c) * np.cos(y / b) for a, b, c in ((9, 7, 0), (6, 11, 1), (13, 5, 2))]
    image = np.stack(planes, -1) + rng.normal(0, 6, (height, width, 3))
    image[(y - height / 2) ** 2 + (x - width / 3) ** 2 < (height / 4) ** 2] += (60, -70, 20)
    return Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))


def text(data):
    return base64.b64encode(data).decode()


def pixels(image):
    return {"height": image.height, "width": image.width, "data": text(np.asarray(image.convert("RGB")).tobytes())}


def saved(image, format, **options):
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


files = []


def file(name, data):
    with Image.open(io.BytesIO(data)) as image:
        files.append({"name": name, "file": text(data), **pixels(image)})


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png16(color, rows):
    """A PNG of 16 bits, which Pillow writes for gray images only."""
    height, width = rows.shape[:2]
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 16, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


small = photo(19, 26)
for subsampling in (0, 1, 2):
    file(f"jpeg, subsampling {subsampling}", saved(small, "JPEG", quality=90, subsampling=subsampling))
file("progressive jpeg", saved(small, "JPEG", quality=85, progressive=True))
file("jpeg with restart markers", saved(photo(33, 20), "JPEG", quality=90, restart_marker_blocks=1))
file("gray jpeg", saved(small.convert("L"), "JPEG", quality=90))
file("CMYK jpeg", saved(small.convert("CMYK"), "JPEG", quality=90))
file("RGB jpeg", saved(small, "JPEG", quality=90, keep_rgb=True))
turned = Image.Exif()
turned[0x0112] = 6
file("jpeg with an orientation", saved(small, "JPEG", quality=90, exif=turned))
tiny = photo(7, 9)
file("png", saved(tiny, "PNG"))
file("gray png", saved(tiny.convert("L"), "PNG"))
file("png of one bit", saved(tiny.convert("1"), "PNG"))
file("png with a palette", saved(tiny.quantize(11), "PNG"))
file("png with a palette and transparency", saved(tiny.quantize(40), "PNG", transparency=3))
alpha = tiny.copy()
alpha.putalpha(Image.fromarray(rng.integers(0, 255, (7, 9), dtype=np.uint8)))
file("png with alpha", saved(alpha, "PNG"))
file("gray png with alpha", saved(alpha.convert("LA"), "PNG"))
wide = rng.integers(0, 1500, (7, 9, 3))
file("gray png of 16 bits", png16(0, wide[:, :, 0]))
file("png of 16 bits", png16(2, wide * 40))
file("png with alpha of 16 bits", png16(6, np.concatenate([wide, wide[:, :, :1]], -1) * 40))

steps = []


def step(name, args, out):
    steps.append({"name": name, "args": args, **pixels(out)})


modes = {"nearest": Mode.NEAREST, "bilinear": Mode.BILINEAR, "bicubic": Mode.BICUBIC, "lanczos": Mode.LANCZOS}
for name, mode in modes.items():
    for size in (11, 31, [8, 40], [19, 9], [30, 26]):
        step("resize", [size, {"interpolation": name}], T.Resize(size, mode)(small))
step("resize", [16, {"maxSize": 17}], T.Resize(16, max_size=17)(small))
for size in (8, 19, [12, 33], [22, 7], [30, 31]):
    step("centerCrop", [size], T.CenterCrop(size)(small))
for mode, name in (("constant", "constant"), ("edge", "edge"), ("reflect", "reflect")):
    padded = F.pad(small, [1, 2, 3, 4], fill=77 if mode == "constant" else 0, padding_mode=mode)
    step("randomCrop", [[padded.height, padded.width], {"padding": [1, 2, 3, 4], "paddingMode": name, "fill": 77}], padded)
step("randomHorizontalFlip", [{"p": 1}], F.hflip(small))
step("randomVerticalFlip", [{"p": 1}], F.vflip(small))
for factor in (0, 0.45, 1, 1.6):
    step("colorJitter", [{"brightness": [factor, factor]}], F.adjust_brightness(small, factor))
    step("colorJitter", [{"contrast": [factor, factor]}], F.adjust_contrast(small, factor))
    step("colorJitter", [{"saturation": [factor, factor]}], F.adjust_saturation(small, factor))
for turn in (-0.5, -0.13, 0.25, 0.5):
    step("colorJitter", [{"hue": [turn, turn]}], F.adjust_hue(small, turn))

augment = []
for options in ({}, {"magnitude": 22, "interpolation": "bilinear", "fill": [9, 120, 200]}):
    fill, mode = options.get("fill"), modes[options.get("interpolation", "nearest")]
    made = autoaugment.RandAugment(num_ops=1, magnitude=options.get("magnitude", 9), interpolation=mode, fill=fill)
    operations = []
    for index in range(14):
        pair = []
        for negative in (0, 1):
            # The first draw is the operation's, the second its sign.
            drawn = iter([torch.tensor(index), torch.tensor(negative)])
            with patch.object(torch, "randint", lambda *args, **kwargs: next(drawn)):
                pair.append(pixels(made(small))["data"])
        operations.append(pair)
    augment.append({"options": options, "operations": operations})

mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
floats = T.Normalize(mean, std)(T.ToTensor()(tiny))
areas = []
for height, width in ((4, 100), (100, 4), (50, 60)):
    # A share that no part can have.
    top, left, h, w = T.RandomResizedCrop.get_params(Image.new("RGB", (width, height)), scale=(4, 4), ratio=(0.75, 4 / 3))
    areas.append([height, width, [top, left, h, w]])

out = {
    "files": files, "image": text(saved(small, "PNG")), "steps": steps, "augment": augment, "areas": areas,
    "floats": {"file": text(saved(tiny, "PNG")), "mean": mean, "std": std, "data": [float(f"{v:.9g}") for v in floats.flatten().tolist()]},
}
Path(__file__).with_name("images.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")

"""Trains the networks of `curve.test.ts` in PyTorch: curve_reference.py FOLDER.

FOLDER holds for each network `NAME.safetensors`: its state dict under `weights.`, and batches `x` and `y` with the batches first.
Writes `curves.json`: for each network the losses of 30 steps in float64 and float32 on the CPU, and in bfloat16 autocast on the GPU.
"""

import json
import sys
from pathlib import Path

import torch
import torchvision
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

STEPS = 30


def mlp():
    return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(144, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )


def resnet():
    model = torchvision.models.resnet18(num_classes=10)
    model.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    model.maxpool = nn.Identity()
    return model


def sgd(lr):
    return lambda parameters: torch.optim.SGD(parameters, lr=lr, momentum=0.9, weight_decay=5e-4)


NETWORKS = {
    "mlp": (mlp, sgd(0.05)),
    "cnn": (cnn, lambda parameters: torch.optim.AdamW(parameters, lr=1e-3)),
    "resnet": (resnet, sgd(0.01)),
}


def curve(name, tensors, dtype, device):
    network, make_optimizer = NETWORKS[name]
    model = network()
    model.load_state_dict({k.removeprefix("weights."): v for k, v in tensors.items() if k.startswith("weights.")})
    low = dtype == torch.bfloat16
    held = torch.float32 if low else dtype
    model = model.to(device, held)
    optimizer = make_optimizer(model.parameters())
    xs, ys = tensors["x"].to(device, held), tensors["y"].to(device)
    losses = []
    for i in range(STEPS):
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=low):
            loss = F.cross_entropy(model(xs[i % len(xs)]), ys[i % len(xs)])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main():
    folder = Path(sys.argv[1])
    gpu = "cuda" if torch.cuda.is_available() else "cpu"
    curves = {}
    for name in NETWORKS:
        tensors = load_file(folder / f"{name}.safetensors")
        runs = {"float64": (torch.float64, "cpu"), "float32": (torch.float32, "cpu"), "bfloat16": (torch.bfloat16, gpu)}
        curves[name] = {key: curve(name, tensors, *run) for key, run in runs.items()}
    (folder / "curves.json").write_text(json.dumps(curves))


main()

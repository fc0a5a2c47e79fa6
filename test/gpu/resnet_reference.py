"""Writes what `resnet.ts` beside this file compares wick with: full-size ResNets of torchvision, in float64.

    python test/gpu/resnet_reference.py FOLDER [--device cpu] [--batch 8] [--size 224]

Needs torch, torchvision and safetensors. For each model FOLDER gets `NAME-weights.safetensors`, a state dict as torchvision's users have it, and
`NAME.safetensors`:

    x, y            images float32 and int64 labels
    eval            logits in evaluation, before the step
    logits, loss    of a forward pass in training, and then
    grad.*          gradients of all parameters
    after.*         running statistics

with metadata `float32` (JSON): how far PyTorch itself is from these in float32 without TF32 on the same device, relative in the L2 norm.
wick is held to a small multiple of that.
"""
import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file
from torch import nn

MODELS = ("resnet18", "resnet50")


def random_model(name, device):
    """Norms aren't those of a new model, and running statistics fit the activations, so that evaluation is as in practice."""
    torch.manual_seed(len(name))
    model = getattr(torchvision.models, name)().to(device)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1)
        nn.init.normal_(norm.bias, 0, 0.1)
    with torch.no_grad():
        for _ in range(20):
            model(torch.randn(8, 3, 64, 64, device=device))
    return model


def step(model, x, y):
    """Everything that is compared, by name."""
    model.zero_grad()
    with torch.no_grad():
        evaluation = model.eval()(x)
    logits = model.train()(x)
    loss = F.cross_entropy(logits, y)
    loss.backward()
    out = {"eval": evaluation, "logits": logits.detach(), "loss": loss.detach()}
    out |= {f"grad.{k}": p.grad for k, p in model.named_parameters()}
    return out | {f"after.{k}": v.clone() for k, v in model.state_dict().items() if k.endswith(("running_mean", "running_var"))}


def distance(actual, expected):
    return ((actual.double() - expected).norm() / expected.norm()).item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    args = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    args.folder.mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        model = random_model(name, args.device)
        weights = {k: v.clone().cpu() for k, v in model.state_dict().items()}
        save_file(weights, args.folder / f"{name}-weights.safetensors")
        x = torch.randn(args.batch, 3, args.size, args.size, device=args.device)
        y = torch.randint(0, 1000, (args.batch,), device=args.device)
        single = step(model, x, y)
        model.load_state_dict(weights)
        exact = step(model.double(), x.double(), y)
        errors = {k: distance(single[k], v) for k, v in exact.items()}
        tensors = {"x": x, "y": y} | exact
        path = args.folder / f"{name}.safetensors"
        save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, path, metadata={"float32": json.dumps(errors)})
        print(f"{name}: loss {exact['loss'].item():.6f}; PyTorch's float32 is off by {errors['logits']:.1e} in the logits, {max(errors.values()):.1e} at most")


if __name__ == "__main__":
    main()

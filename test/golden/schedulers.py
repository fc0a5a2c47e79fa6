"""Writes schedulers.json: values of PyTorch's and pytorch-accelerated's schedules over 200 updates.

Needs torch and pytorch-accelerated. A case: `{name, kind, options, optimizer, values, momentum?}`, values by update and group.
"""
import json
import math
from pathlib import Path

import torch
from pytorch_accelerated.schedulers import CosineLrScheduler, WSDLrScheduler
from torch.optim import lr_scheduler as lrs

STEPS = 200
CASES = []


def optimizer(kind="sgd"):
    a, b = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    groups = [{"params": [a], "lr": 0.1}, {"params": [b], "lr": 0.02}]
    if kind == "adamw":
        return torch.optim.AdamW(groups, lr=0.1)
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9)


def momentum_of(group):
    return group["betas"][0] if "betas" in group else group["momentum"]


def case(name, kind, options, make, opt="sgd", momentum=False, metrics=None):
    o = optimizer(opt)
    s = make(o)
    values, momenta = [], []
    for n in range(STEPS):
        values.append([g["lr"] for g in o.param_groups])
        momenta.append([momentum_of(g) for g in o.param_groups])
        o.step()
        s.step(*([metrics[n]] if metrics else []))
    row = {"name": name, "kind": kind, "options": options, "optimizer": opt, "values": values}
    if momentum:
        row["momentum"] = momenta
    if metrics:
        row["metrics"] = metrics
    CASES.append(row)


def camel(name):
    head, *rest = name.split("_")
    return head.lower() + "".join(w.title() for w in rest)


def plain(cls, name, momentum=False, opt="sgd", metrics=None, **options):
    case(name, cls.__name__, {camel(k): v for k, v in options.items()}, lambda o: cls(o, **options), opt, momentum, metrics)


plain(lrs.StepLR, "step", step_size=30, gamma=0.5)
plain(lrs.MultiStepLR, "multi-step", milestones=[20, 50, 50, 120], gamma=0.3)
plain(lrs.ConstantLR, "constant", factor=0.25, total_iters=40)
plain(lrs.LinearLR, "linear", start_factor=0.1, end_factor=0.6, total_iters=70)
plain(lrs.ExponentialLR, "exponential", gamma=0.98)
plain(lrs.PolynomialLR, "polynomial", total_iters=150, power=2.0)
plain(lrs.CosineAnnealingLR, "cosine", T_max=60, eta_min=0.001)
plain(lrs.CosineAnnealingWarmRestarts, "restarts", T_0=20, T_mult=2, eta_min=0.0005)
plain(lrs.CosineAnnealingWarmRestarts, "restarts of one length", T_0=25)
plain(lrs.CyclicLR, "cyclic", momentum=True, base_lr=0.001, max_lr=[0.1, 0.05], step_size_up=20, step_size_down=30)
plain(lrs.CyclicLR, "cyclic, half the height", momentum=True, opt="adamw", base_lr=0.01, max_lr=0.1, step_size_up=15, mode="triangular2")
plain(lrs.CyclicLR, "cyclic, exponential", momentum=True, base_lr=0.01, max_lr=0.1, step_size_up=15, mode="exp_range", gamma=0.99)
plain(lrs.OneCycleLR, "one cycle", momentum=True, max_lr=[0.5, 0.1], total_steps=200)
plain(lrs.OneCycleLR, "one cycle in three phases", momentum=True, opt="adamw", max_lr=0.5, epochs=10, steps_per_epoch=20,
      three_phase=True, anneal_strategy="linear", pct_start=0.4, div_factor=10.0, final_div_factor=100.0)
losses = [math.exp(-n / 30) + 0.3 * abs(math.sin(n / 5)) for n in range(STEPS)]
plain(lrs.ReduceLROnPlateau, "plateau", metrics=losses, factor=0.5, patience=5, cooldown=3, min_lr=[1e-3, 1e-4])
plain(lrs.ReduceLROnPlateau, "plateau, rising", metrics=losses, mode="max", threshold=0.05, threshold_mode="abs", patience=7)

case("lambda", "LambdaLR", {}, lambda o: lrs.LambdaLR(o, [lambda n: 0.95 ** n, lambda n: 1 / (1 + n)]))
case("chained", "ChainedScheduler", {}, lambda o: lrs.ChainedScheduler([
    lrs.ConstantLR(o, factor=0.1, total_iters=20), lrs.ExponentialLR(o, gamma=0.99), lrs.StepLR(o, step_size=60)]))
case("sequential", "SequentialLR", {}, lambda o: lrs.SequentialLR(o, [
    lrs.LinearLR(o, start_factor=0.1, total_iters=20), lrs.CosineAnnealingLR(o, T_max=80), lrs.ExponentialLR(o, gamma=0.97)],
    milestones=[20, 100]))


def transformed(name, kind, options, factor):
    case(name, kind, options, lambda o: lrs.LambdaLR(o, factor))


def linear(n, warmup, total):
    return n / max(1, warmup) if n < warmup else max(0.0, (total - n) / max(1, total - warmup))


def cosine(n, warmup, total, cycles=0.5):
    if n < warmup:
        return n / max(1, warmup)
    progress = (n - warmup) / max(1, total - warmup)
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * cycles * 2.0 * progress)))


transformed("linear warmup", "linearWarmup", {"numWarmupSteps": 20}, lambda n: min(n / 20, 1))
transformed("linear warmup and decay", "linearWarmup", {"numWarmupSteps": 20, "numTrainingSteps": 180}, lambda n: linear(n, 20, 180))
transformed("cosine with warmup", "cosineWithWarmup", {"numWarmupSteps": 30, "numTrainingSteps": 190}, lambda n: cosine(n, 30, 190))


def accelerated(name, cls, steps=STEPS, **options):
    """Where pytorch-accelerated's formula is as meant: without its offset of one update, within its defects' limits."""
    o = optimizer()
    s = cls(o, **options)
    values = [list(s.get_updated_values(n)) for n in range(steps)]
    CASES.append({"name": name, "kind": cls.__name__, "options": {camel(k): v for k, v in options.items()}, "optimizer": "sgd",
                  "values": values})


epochs = {"total_num_epochs": 10, "num_update_steps_per_epoch": 20}
accelerated("accelerated cosine", CosineLrScheduler, **epochs)
accelerated("accelerated cosine, k-decay and cooldown", CosineLrScheduler, **epochs, k_decay=1.5, min_lr_ratio=0.05, num_cooldown_epochs=3)
accelerated("accelerated cosine, warmup", CosineLrScheduler, steps=40, **epochs, num_warmup_epochs=2, warmup_starting_lr=1e-3)
accelerated("accelerated wsd", WSDLrScheduler, total_steps=200, num_warmup_steps=15, decay_phase_ratio=0.2, lr_min=0.01)
accelerated("accelerated wsd, linear inverse, 3 checkpoints", WSDLrScheduler, num_epochs=10, num_update_steps_per_epoch=20,
            num_checkpoints=3, use_inverse_sqrt_decay=False, lr_min=0.1)

Path(__file__).with_name("schedulers.json").write_text(json.dumps(CASES, separators=(",", ":")) + "\n")

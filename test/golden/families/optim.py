"""Optimisers and clipping over the parameters of a group.

A case is {"name", "op", "options", "params": [keys], "grads": [[key or null of each parameter] of each step], "skip": [bool of
each step], "expected": {step: [keys]}}: the parameters after that many steps. Clipping: {"name", "op", "max", "grads", "norm",
"expected"}: the gradients after it.
"""
import torch

from suite import Suite

STEPS = 20
SHAPES = ((4, 3), (3,), (1,))
KEPT = (1, 2, 5, STEPS)

SGD = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "dampening": {"momentum": 0.9, "dampening": 0.3},
    "decay": {"weight_decay": 0.1},
    "nesterov": {"momentum": 0.8, "nesterov": True, "weight_decay": 0.01},
    "maximize": {"momentum": 0.9, "maximize": True, "weight_decay": 0.05},
}
ADAMW = {
    "plain": {},
    "decay": {"weight_decay": 0.2},
    "betas": {"betas": (0.5, 0.8), "eps": 1e-3, "weight_decay": 0.0},
    "maximize": {"maximize": True},
}


def moments(optimizer, p):
    state = optimizer.state[p]
    return {k: state[k] for k in ("momentum_buffer", "exp_avg", "exp_avg_sq") if torch.is_tensor(state.get(k))}


def restore(optimizer, live, before):
    """A skipped update leaves parameters and moments as they were, and counts as a step."""
    for p, (value, saved) in zip(live, before):
        p.data.copy_(value)
        for k, now in moments(optimizer, p).items():
            now.copy_(saved[k]) if k in saved else now.zero_()


def run(s, name, op, make, options, dtype, holes=False, skips=False):
    params = [s.normal(*shape, dtype=dtype) for shape in SHAPES]
    grads = [[s.normal(*shape, dtype=dtype, salt=f"{step}") for shape in SHAPES] for step in range(STEPS)]
    # The second parameter joins at step 3 and is absent at every fifth; the third is never there at step 1.
    absent = lambda step, i: holes and ((i == 1 and (step < 2 or step % 5 == 4)) or (i == 2 and step == 0))
    skipped = [skips and step in (0, 7) for step in range(STEPS)]
    live = [p.clone().requires_grad_() for p in params]
    optimizer = make(live, **options)
    expected = {}
    for step in range(STEPS):
        for i, p in enumerate(live):
            p.grad = None if absent(step, i) else grads[step][i].clone()
        before = [(p.detach().clone(), {k: v.clone() for k, v in moments(optimizer, p).items()}) for p in live]
        optimizer.step()
        if skipped[step]:
            restore(optimizer, live, before)
        if step + 1 in KEPT:
            expected[str(step + 1)] = [s.keep(p) for p in live]
    flat = {k: v for k, v in optimizer.defaults.items() if k in ("lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize", "eps")}
    if op == "AdamW":
        flat["beta1"], flat["beta2"] = optimizer.defaults["betas"]
    s.record({
        "name": name, "op": op, "options": flat, "params": [s.keep(p) for p in params],
        "grads": [[None if absent(step, i) else s.keep(grads[step][i]) for i in range(len(SHAPES))] for step in range(STEPS)],
        "skip": skipped, "expected": expected,
    })


def clip(s):
    for dtype in (torch.float32, torch.float64):
        label = str(dtype).removeprefix("torch.")
        for name, limit, scale, hole in (("above", 1.0, 3.0, False), ("below", 100.0, 1.0, False), ("hole", 0.5, 1.0, True), ("zero", 1.0, 0.0, False)):
            params = [torch.zeros(shape, dtype=dtype, requires_grad=True) for shape in SHAPES]
            for op in ("ClipGradNorm", "ClipGradValue"):
                case = f"{op}/{name}/{label}"
                for i, p in enumerate(params):
                    p.grad = None if hole and i == 1 else s.normal(*p.shape, dtype=dtype, salt="clip") * scale
                before = [None if p.grad is None else s.keep(p.grad) for p in params]
                norm = None
                if op == "ClipGradNorm":
                    norm = s.keep(torch.nn.utils.clip_grad_norm_(params, limit))
                else:
                    torch.nn.utils.clip_grad_value_(params, limit)
                after = [None if p.grad is None else s.keep(p.grad) for p in params]
                s.record({"name": case, "op": op, "max": limit, "grads": before, "norm": norm, "expected": after})


def suite():
    s = Suite("optim")
    for dtype in (torch.float32, torch.float64):
        label = str(dtype).removeprefix("torch.")
        for name, options in SGD.items():
            run(s, f"sgd/{name}/{label}", "Sgd", torch.optim.SGD, {"lr": 0.05} | options, dtype)
        for name, options in ADAMW.items():
            run(s, f"adamw/{name}/{label}", "AdamW", torch.optim.AdamW, {"lr": 0.02} | options, dtype)
    for op, make, options in (("Sgd", torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "dampening": 0.3}), ("AdamW", torch.optim.AdamW, {"lr": 0.02})):
        run(s, f"{op.lower()}/holes", op, make, options, torch.float32, holes=True)
        run(s, f"{op.lower()}/skips", op, make, options, torch.float32, skips=True)
    clip(s)
    return s

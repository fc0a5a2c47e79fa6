"""A suite of golden cases: inputs laid out in memory in several ways, PyTorch's outputs and gradients, one file a family.

The file's metadata holds `golden`, which is JSON: {"torch": version, "cases": [..]}. A case:

    {"name": "add/mixed", "op": "Binary", "attrs": {"kind": "add"},
     "inputs": [{"key": "0", "view": [{"permute": [1, 0]}], "grad": true}, {"key": "1"}], "outputs": ["2"],
     "grad_out": "3", "grads": ["4", null], "mutated": [{"input": 0, "key": "5"}], "kinks": true}

An input is a contiguous base tensor and the views that lead from it to the operand; gradients and values after an in-place op
are those of the base. `grad_out` belongs to the first output. A null output isn't compared; a null gradient is zero. `kinks`:
central differences can't be taken there (ties, special values, rounding). Keys name tensors of the file; equal tensors are
kept once. Empty and false entries are left out.
"""
import json
import zlib
from pathlib import Path

import torch
from safetensors.torch import save_file

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
DTYPES = {"bool": torch.bool, "uint8": torch.uint8, "int32": torch.int32, "int64": torch.int64,
          "float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}
NAMES = {v: k for k, v in DTYPES.items()}

# How an operand lies in memory. Every family runs through all of them.
LAYOUTS = ("contiguous", "transposed", "narrowed", "selected")


class Operand:
    """A base tensor and the views that make an operand of it."""

    def __init__(self, base, view=(), grad=True):
        self.base = base.contiguous()
        self.view = list(view)
        self.grad = grad and base.dtype in FLOATS

    def apply(self, base):
        for step in self.view:
            (kind, arg), = step.items()
            if kind == "permute":
                base = base.permute(arg)
            elif kind == "expand":
                base = base.expand(arg)
            elif kind == "reshape":
                base = base.reshape(arg)
            elif kind == "select":
                base = base.select(arg["dim"], arg["index"])
            else:
                index = [slice(None)] * base.dim()
                index[arg["dim"]] = slice(arg["start"], arg["start"] + arg["len"] * arg["step"], arg["step"])
                base = base[tuple(index)]
                assert base.shape[arg["dim"]] == arg["len"]
        return base


def filler(dtype):
    """What lies around the operand: a kernel that reads it shows."""
    return float("nan") if dtype in FLOATS else (1 if dtype == torch.bool else 99)


def laid(values, layout="contiguous", grad=True):
    """The operand `values` in the given layout."""
    rank, shape = values.dim(), list(values.shape)
    if layout == "transposed" and rank > 1:
        perm = list(range(rank))[::-1]
        return Operand(values.permute(perm), [{"permute": perm}], grad)
    if layout == "narrowed" and rank > 0:
        last = {"dim": rank - 1, "start": 1, "len": shape[-1], "step": 2}
        base_shape, views = shape[:-1] + [2 * shape[-1] + 1], [{"narrow": last}]
        if rank > 1:
            base_shape[0] += 2
            views.insert(0, {"narrow": {"dim": 0, "start": 1, "len": shape[0], "step": 1}})
    elif layout in ("selected", "narrowed"):
        dim = rank // 2
        base_shape, views = shape[:dim] + [3] + shape[dim:], [{"select": {"dim": dim, "index": 1}}]
    else:
        return Operand(values, [], grad)
    operand = Operand(torch.full(base_shape, filler(values.dtype), dtype=values.dtype), views, grad)
    operand.apply(operand.base).copy_(values)
    return operand


def expanded(values, shape, grad=True):
    """The operand `values` broadcast to `shape` by a view with strides of 0."""
    return Operand(values, [{"expand": list(shape)}], grad)


def prune(entry):
    return {k: v for k, v in entry.items() if v or k == "attrs"}


class Suite:
    """Collects the cases of one family. `rng` is seeded by the case's name, so that a new case changes no other."""

    def __init__(self, name):
        self.name, self.cases, self.tensors, self.keys = name, [], {}, {}

    def normal(self, *shape, dtype=torch.float32, salt=""):
        return torch.randn(shape, generator=self._generator(f"{shape}{salt}"), dtype=torch.float64).to(dtype)

    def uniform(self, *shape, low=0.0, high=1.0, dtype=torch.float32, salt=""):
        unit = torch.rand(shape, generator=self._generator(f"{shape}{salt}"), dtype=torch.float64)
        return (low + unit * (high - low)).to(dtype)

    def integers(self, *shape, low=0, high=10, dtype=torch.int64, salt=""):
        return torch.randint(low, high, shape, generator=self._generator(f"{shape}{salt}")).to(dtype)

    def _generator(self, text):
        return torch.Generator().manual_seed(zlib.crc32(f"{self.name}{text}".encode()))

    def keep(self, tensor):
        """Keeps a tensor; returns its key."""
        tensor = tensor.detach().contiguous().clone()
        # Through a fresh buffer: PyTorch calls a stride of a size-1 dimension contiguous whatever it is.
        raw = torch.empty(tensor.numel(), dtype=tensor.dtype).copy_(tensor.reshape(-1)).view(torch.uint8)
        identity = (tensor.dtype, tuple(tensor.shape), bytes(raw.tolist()))
        if identity not in self.keys:
            self.keys[identity] = str(len(self.keys))
            self.tensors[self.keys[identity]] = tensor
        return self.keys[identity]

    def record(self, case):
        assert all(c["name"] != case["name"] for c in self.cases), case["name"]
        self.cases.append(case)

    def add(self, name, op, attrs, fn, operands, *, grad=True, kinks=False, mutates=()):
        """Runs `fn` on the operands and keeps what came of it, None for a result that means nothing. `mutates`: operands that `fn` writes."""
        wants = [grad and o.grad for o in operands]
        leaves = [o.base.clone().requires_grad_(w) for o, w in zip(operands, wants)]
        # PyTorch allows no writes to a leaf that needs a gradient.
        bases = [leaf.clone() if i in mutates else leaf for i, leaf in enumerate(leaves)]
        outs = fn(*[o.apply(b) for o, b in zip(operands, bases)])
        outs = list(outs) if isinstance(outs, (tuple, list)) else [outs]
        case = {
            "name": name, "op": op, "attrs": attrs, "kinks": kinks,
            "inputs": [prune({"key": self.keep(o.base), "view": o.view, "grad": w}) for o, w in zip(operands, wants)],
            "outputs": [None if y is None else self.keep(y) for y in outs],
            "mutated": [{"input": i, "key": self.keep(bases[i])} for i in mutates],
        }
        if any(wants) and outs[0].requires_grad:
            upstream = self.normal(*outs[0].shape, dtype=outs[0].dtype, salt="upstream")
            got = iter(torch.autograd.grad(outs[0], [leaf for leaf, w in zip(leaves, wants) if w], upstream, allow_unused=True))
            grads = [next(got) if w else None for w in wants]
            case["grad_out"] = self.keep(upstream)
            case["grads"] = [None if d is None else self.keep(d) for d in grads]
        self.record(prune(case))

    def layouts(self, name, op, attrs, fn, values, *, double=True, **options):
        """The case in every layout, each operand in its own in `mixed`, and once in float64."""
        for layout in LAYOUTS:
            self.add(f"{name}/{layout}", op, attrs, fn, [laid(v, layout) for v in values], **options)
        if len(values) > 1:
            turn = ("transposed", "narrowed", "selected")
            self.add(f"{name}/mixed", op, attrs, fn, [laid(v, turn[i % 3]) for i, v in enumerate(values)], **options)
        if double and values and values[0].dtype == torch.float32:
            wide = [v.double() if v.dtype == torch.float32 else v for v in values]
            self.add(f"{name}/float64", op, attrs, fn, [laid(v, "transposed") for v in wide], **options)

    def write(self, folder: Path):
        path = folder / f"{self.name}.safetensors"
        content = {"torch": torch.__version__.split("+")[0], "cases": self.cases}
        # One entry: the order of several isn't fixed.
        save_file(self.tensors, path, metadata={"golden": json.dumps(content, separators=(",", ":"), allow_nan=False)})
        path.chmod(0o644)
        return path

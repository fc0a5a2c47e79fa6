"""Reductions, softmax, cumulative sums and sorting."""
import torch

from suite import Suite, expanded, laid

INF, NAN = float("inf"), float("nan")


def prod(x, dims, keepdim):
    """PyTorch's product takes one dimension at a time."""
    for d in sorted(dims, reverse=True):
        x = x.prod(d, keepdim=keepdim)
    return x


def arg(fn):
    def run(x, dims, keepdim):
        if len(dims) == 1:
            return fn(x, dims[0], keepdim=keepdim)
        y = fn(x)
        return y.reshape([1] * x.dim()) if keepdim else y
    return run


def over(fn):
    return lambda x, dims, keepdim: fn(x, dim=dims, keepdim=keepdim) if x.dim() else fn(x)


KINDS = {"sum": over(torch.sum), "mean": over(torch.mean), "prod": prod, "amax": over(torch.amax), "amin": over(torch.amin),
         "argmax": arg(torch.argmax), "argmin": arg(torch.argmin), "any": over(torch.any), "all": over(torch.all)}


def reductions(s):
    for kind, fn in KINDS.items():
        def add(name, operand, dims, keepdim=False, **options):
            attrs = {"kind": kind, "dims": dims, "keepdim": keepdim}
            s.add(f"{kind}/{name}", "Reduce", attrs, lambda x: fn(x, dims, keepdim), [operand], **options)

        x = s.normal(2, 3, 4)
        if kind in ("any", "all"):
            x = (x > (0.5 if kind == "any" else -0.8))
        sets = {"all": [0, 1, 2], "first": [0], "middle": [1], "last": [2]}
        if kind not in ("argmax", "argmin"):
            sets |= {"outer": [0, 2], "leading": [0, 1], "trailing": [1, 2]}
        for name, dims in sets.items():
            add(name, laid(x), dims)
            add(f"{name}/transposed", laid(x, "transposed"), dims, keepdim=True)
        for layout in ("narrowed", "selected"):
            add(f"last/{layout}", laid(x, layout), [2])
            add(f"all/{layout}", laid(x, layout), [0, 1, 2])
        add("expanded", expanded(x[:, :1], [2, 3, 4]), [1], kinks=kind in ("amax", "amin"))
        add("size1", laid(x[:1, :1, :1]), [1])
        add("size1/kept", laid(x[:, :, :1]), [2], keepdim=True)
        add("rank0", laid(x[0, 0, 0]), [])
        if kind in ("any", "all"):
            floats = torch.tensor([[0.0, 0.0, NAN], [1.0, -2.0, 3.0], [0.0, -0.0, 0.0]])
            add("float32", laid(floats), [1])
            add("int64", laid(s.integers(3, 4, high=2), "transposed"), [0])
            continue
        add("float64", laid(x.double(), "transposed"), sets.get("outer", [1]))
        ties = torch.tensor([[2.0, 2.0, 1.0], [0.0, 3.0, 0.0], [-1.0, -1.0, -1.0]])
        for dims in ([1], [0], [0, 1]):
            add(f"ties/{len(dims)}{dims[0]}", laid(ties), dims, kinks=True)
        add("special", laid(torch.tensor([[1.0, NAN, 2.0], [INF, 0.0, -INF], [INF, 1.0, 2.0]])), [1], kinks=True, grad=kind != "prod")
        if kind != "mean":
            for dtype in (torch.int32, torch.int64, torch.uint8):
                add(f"{dtype}".replace("torch.", ""), laid(s.integers(3, 4, high=5, dtype=dtype), "transposed"), [1])
        if kind == "sum":
            add("bool", laid(s.integers(3, 4, high=2, dtype=torch.bool)), [1])
            add("empty", laid(torch.zeros(0, 3)), [0], kinks=True)
            add("long", laid(s.normal(1000)), [0], grad=False)
        if kind == "prod":
            add("zeros", laid(torch.tensor([[2.0, 0.0, 3.0], [0.0, 4.0, 0.0], [1.5, 2.0, -1.0]])), [1], kinks=True)
            add("zeros/all", laid(torch.tensor([[2.0, 0.0, 3.0], [1.0, 4.0, 2.0]])), [0, 1], kinks=True)


def softmax(s):
    for log in (False, True):
        fn = torch.log_softmax if log else torch.softmax
        name, attrs, run = ("logSoftmax" if log else "softmax"), {"log": log}, lambda x, fn=fn: fn(x, -1)
        s.layouts(name, "Softmax", attrs, run, [s.normal(3, 5)])
        s.add(f"{name}/rank3", "Softmax", attrs, run, [laid(s.normal(2, 2, 3), "transposed")])
        s.add(f"{name}/rank1", "Softmax", attrs, run, [laid(s.normal(4), "narrowed")])
        s.add(f"{name}/size1", "Softmax", attrs, run, [laid(s.normal(2, 1))])
        s.add(f"{name}/wide", "Softmax", attrs, run, [laid(s.normal(1, 37))])
        s.add(f"{name}/expanded", "Softmax", attrs, run, [expanded(s.normal(1, 3), [2, 3])])
        rows = torch.tensor([[-INF, 0.0, 1.0], [1e4, -1e4, 0.0], [NAN, 0.0, 1.0], [88.0, 89.0, -88.0]])
        s.add(f"{name}/special", "Softmax", attrs, run, [laid(rows)], kinks=True)


def cumsum(s):
    x = s.normal(2, 3, 4)
    for dim in range(3):
        run = lambda x, dim=dim: torch.cumsum(x, dim)
        s.layouts(f"cumsum/{dim}", "Cumsum", {"dim": dim}, run, [x], double=dim == 1)
    run = lambda x: torch.cumsum(x, 0)
    s.add("cumsum/size1", "Cumsum", {"dim": 0}, run, [laid(x[:1, 0])])
    s.add("cumsum/rank1", "Cumsum", {"dim": 0}, run, [laid(x[0, 0], "narrowed")])
    for dtype in (torch.int32, torch.int64, torch.bool):
        s.add(f"cumsum/{dtype}".replace("torch.", ""), "Cumsum", {"dim": 0}, run, [laid(s.integers(3, 2, high=2, dtype=dtype), "transposed")])


def sort(s):
    for descending in (False, True):
        attrs, name = {"descending": descending}, f"sort/{'descending' if descending else 'ascending'}"
        run = lambda x, d=descending: torch.sort(x, dim=-1, descending=d, stable=True)
        s.layouts(name, "Sort", attrs, run, [s.normal(3, 5)])
        s.add(f"{name}/size1", "Sort", attrs, run, [laid(s.normal(2, 1))])
        s.add(f"{name}/rank3", "Sort", attrs, run, [laid(s.normal(2, 2, 3), "transposed")])
        s.add(f"{name}/ties", "Sort", attrs, run, [laid(torch.tensor([[1.0, 0.0, 1.0, 0.0, 1.0], [2.0, 2.0, -0.0, 0.0, 2.0]]))], kinks=True)
        s.add(f"{name}/special", "Sort", attrs, run, [laid(torch.tensor([[NAN, 1.0, -INF, INF, NAN, -1.0]]))], kinks=True)
        s.add(f"{name}/int64", "Sort", attrs, run, [laid(s.integers(3, 4, high=5), "transposed")])


def suite():
    s = Suite("reduce")
    for family in (reductions, softmax, cumsum, sort):
        family(s)
    return s

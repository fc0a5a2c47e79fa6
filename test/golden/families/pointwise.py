"""Pointwise ops: unary, binary, with a scalar, clamp, where, casts, creation."""
import operator

import torch

from suite import DTYPES, FLOATS, Operand, Suite, expanded, laid

INF, NAN = float("inf"), float("nan")
# Values at which functions and their derivatives are easily wrong.
SPECIAL = torch.tensor([0.0, -0.0, 1.0, -1.0, INF, -INF, NAN, 1e-8, -1e-8, 30.0, -30.0, 100.0, -100.0, 0.5, -0.5, 1.5, 2.5])

UNARY = {
    "neg": torch.neg, "abs": torch.abs, "sign": torch.sign, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "exp": torch.exp, "log": torch.log,
    "log1p": torch.log1p, "expm1": torch.expm1, "sin": torch.sin, "cos": torch.cos, "tanh": torch.tanh, "sigmoid": torch.sigmoid,
    "erf": torch.erf, "floor": torch.floor, "ceil": torch.ceil, "round": torch.round, "reciprocal": torch.reciprocal, "relu": torch.relu,
    "logicalNot": torch.logical_not, "isnan": torch.isnan, "isinf": torch.isinf, "isfinite": torch.isfinite,
}
POSITIVE = {"sqrt", "rsqrt", "log", "log1p"}
INTEGER_UNARY = {"neg", "abs", "sign", "logicalNot"}


def relu_grad(grad, y):
    return torch.where(y > 0, grad, torch.zeros((), dtype=grad.dtype))


BINARY = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "pow": torch.pow, "minimum": torch.minimum, "maximum": torch.maximum,
    "remainder": torch.remainder, "reluGrad": relu_grad, "eq": torch.eq, "ne": torch.ne, "lt": torch.lt, "le": torch.le, "gt": torch.gt,
    "ge": torch.ge, "logicalAnd": torch.logical_and, "logicalOr": torch.logical_or, "logicalXor": torch.logical_xor,
}
PREDICATES = {"eq", "ne", "lt", "le", "gt", "ge", "logicalAnd", "logicalOr", "logicalXor"}
# Which gradients a NaN lets through differs from PyTorch's, and so do powers of -0, on which PyTorch differs from itself.
NAN_RULES = {"minimum", "maximum", "remainder", "pow"}
# Of two equal elements each gets half of the gradient.
TIES = torch.tensor([0.0, 1.0, 2.0, -1.0, 0.0, 3.0]), torch.tensor([0.0, 2.0, 2.0, -1.0, -2.0, -3.0])


def unary(s):
    s.add("neg/empty", "Unary", {"kind": "neg"}, torch.neg, [laid(torch.zeros(0, 2))], kinks=True)
    for kind, fn in UNARY.items():
        low = 0.2 if kind in POSITIVE else -2.5
        values = s.uniform(3, 4, low=low, high=2.5)
        if kind in ("logicalNot", "isnan", "isinf", "isfinite"):
            values = torch.where(values > 1, values, torch.tensor([0.0, NAN, INF, -INF])) if kind != "logicalNot" else values.floor()
        attrs = {"kind": kind}
        s.layouts(kind, "Unary", attrs, fn, [values])
        s.add(f"{kind}/size1", "Unary", attrs, fn, [laid(values[1:2, 3:4])])
        s.add(f"{kind}/expanded", "Unary", attrs, fn, [expanded(values[1:2, 3:4], [2, 3])])
        # Where the input is NaN, so is the result, and PyTorch's rule for which gradient it gets is not ours.
        s.add(f"{kind}/special", "Unary", attrs, fn, [laid(SPECIAL)], kinks=True, grad=kind != "relu")
        if kind in INTEGER_UNARY:
            for dtype in (torch.int32, torch.int64):
                s.add(f"{kind}/{dtype}".replace("torch.", ""), "Unary", attrs, fn, [laid(s.integers(2, 3, low=-3, high=3, dtype=dtype), "transposed")])
        elif kind not in ("floor", "ceil", "round", "relu"):
            s.add(f"{kind}/int64", "Unary", attrs, fn, [laid(s.integers(2, 3, low=1, high=4))])


def binary(s):
    for kind, fn in BINARY.items():
        attrs = {"kind": kind}
        whole = kind in PREDICATES
        low = 0.3 if kind == "pow" else -2.5

        def draw(*shape, salt):
            values = s.uniform(*shape, low=low, high=2.5, salt=salt)
            return values.round() if whole else values

        a, b = draw(3, 4, salt="a"), draw(3, 4, salt="b")
        s.layouts(kind, "Binary", attrs, fn, [a, b])
        # reluGrad's operands are of one shape: it is never broadcast.
        if kind != "reluGrad":
            row, column, scalar = draw(1, 4, salt="r"), draw(3, 1, salt="c"), draw(salt="s")
            s.add(f"{kind}/broadcast", "Binary", attrs, fn, [laid(column), laid(row)])
            s.add(f"{kind}/rank", "Binary", attrs, fn, [laid(b[0], "narrowed"), laid(a, "transposed")])
            s.add(f"{kind}/scalar", "Binary", attrs, fn, [laid(a, "narrowed"), laid(scalar, "selected")])
            s.add(f"{kind}/expanded", "Binary", attrs, fn, [expanded(row, [3, 4]), expanded(column, [3, 4])])
        if kind in ("add", "mul", "div", "lt"):
            s.add(f"{kind}/middle", "Binary", attrs, fn, [laid(draw(2, 1, 3, salt="m")), laid(draw(1, 2, 1, salt="n"))])
            s.add(f"{kind}/empty", "Binary", attrs, fn, [laid(torch.zeros(0, 3)), laid(b[:1, :3])], kinks=True)
        s.add(f"{kind}/size1", "Binary", attrs, fn, [laid(a[:1, :1]), laid(b[1:2, 1:2])])
        s.add(f"{kind}/ties", "Binary", attrs, fn, [laid(t) for t in TIES], kinks=True)
        special = [laid(SPECIAL), laid(SPECIAL.roll(5))]
        s.add(f"{kind}/special", "Binary", attrs, fn, special, kinks=True, grad=kind not in NAN_RULES)
        if kind not in ("pow", "reluGrad"):
            # A divisor of 0 is no integer.
            for dtype in (torch.int32, torch.int64):
                left, right = (s.integers(2, 4, low=-4, high=4, dtype=dtype, salt=side) for side in "lr")
                if kind in ("remainder", "div"):
                    right = torch.where(right == 0, 3, right).to(dtype)
                s.add(f"{kind}/{dtype}".replace("torch.", ""), "Binary", attrs, fn, [laid(left, "transposed"), laid(right)])
        if kind in PREDICATES:
            bits = [laid(s.integers(2, 3, high=2, dtype=torch.bool, salt=side)) for side in "lr"]
            s.add(f"{kind}/bool", "Binary", attrs, fn, bits)
    for kind in ("add", "mul", "div", "lt"):
        floats, ints, narrow = s.normal(2, 3), s.integers(2, 3, low=1, salt="p"), s.integers(3, low=1, dtype=torch.uint8)
        fn = BINARY[kind]
        s.add(f"{kind}/promote-int", "Binary", {"kind": kind}, fn, [laid(floats), laid(ints)], kinks=True)
        s.add(f"{kind}/promote-uint8", "Binary", {"kind": kind}, fn, [laid(narrow), laid(ints)], kinks=True)
        s.add(f"{kind}/promote-float64", "Binary", {"kind": kind}, fn, [laid(floats), laid(s.normal(3, dtype=torch.float64))], kinks=True)


def scalar(s):
    values = {"add": 1.5, "sub": -0.75, "mul": 2.5, "div": 3.0, "pow": 3.0, "minimum": 0.25, "maximum": -0.25, "remainder": 0.7}
    for kind, fn in BINARY.items():
        if kind == "reluGrad":
            continue
        value = values.get(kind, 1.0)
        x = s.uniform(3, 4, low=0.3 if kind == "pow" else -2.5, high=2.5)
        if kind in PREDICATES:
            x = x.round()
        for reverse in (False, True):
            attrs = {"kind": kind, "value": value, "reversed": reverse}

            def run(x, fn=fn, value=value, reverse=reverse):
                v = torch.tensor(value, dtype=x.dtype)
                return fn(v, x) if reverse else fn(x, v)

            name = f"scalar/{kind}{'/reversed' if reverse else ''}"
            s.add(f"{name}/contiguous", "Scalar", attrs, run, [laid(x)])
            s.add(f"{name}/special", "Scalar", attrs, run, [laid(SPECIAL)], kinks=True, grad=kind not in NAN_RULES)
            s.add(f"{name}/size1", "Scalar", attrs, run, [laid(x[:1, :1])])
            s.add(f"{name}/narrowed", "Scalar", attrs, run, [laid(x[:2, :3], "narrowed")])
            if kind not in PREDICATES:
                s.add(f"{name}/transposed", "Scalar", attrs, run, [laid(x.double(), "transposed")])
    for value in (0.0, 0.5, -0.5, 1.0, 2.0, 3.0, -1.0, -2.0, 0.3):
        attrs = {"kind": "pow", "value": value, "reversed": False}
        s.add(f"scalar/pow/{value}", "Scalar", attrs, lambda x, v=value: torch.pow(x, v), [laid(SPECIAL)], kinks=True)
    ints = s.integers(2, 3, low=-4, high=5)
    for kind, value in (("add", 2), ("mul", -3), ("remainder", 3), ("lt", 1), ("maximum", 0)):
        run = lambda x, fn=BINARY[kind], v=value: fn(x, torch.tensor(v))
        s.add(f"scalar/{kind}/int64", "Scalar", {"kind": kind, "value": value, "reversed": False}, run, [laid(ints, "transposed")])
    for kind, fn, value in (("add", operator.add, 1.5), ("div", operator.truediv, 2)):
        s.add(f"scalar/{kind}/promote", "Scalar", {"kind": kind, "value": value, "reversed": False}, lambda x, fn=fn, v=value: fn(x, v), [laid(ints)])


def clamp(s):
    for name, low, high in (("both", -0.5, 1.0), ("low", 0.1, None), ("high", None, 0.2)):
        run = lambda x, low=low, high=high: torch.clamp(x, low, high)
        s.layouts(f"clamp/{name}", "Clamp", {"low": low, "high": high}, run, [s.normal(3, 4)])
        s.add(f"clamp/{name}/size1", "Clamp", {"low": low, "high": high}, run, [laid(s.normal(1, 1))])
        s.add(f"clamp/{name}/special", "Clamp", {"low": low, "high": high}, run, [laid(SPECIAL)], kinks=True)
    edges = torch.tensor([-0.5, 1.0, 0.0, 2.0, -2.0])
    s.add("clamp/edges", "Clamp", {"low": -0.5, "high": 1.0}, lambda x: torch.clamp(x, -0.5, 1.0), [laid(edges)], kinks=True)
    s.add("clamp/int64", "Clamp", {"low": -2, "high": 3}, lambda x: torch.clamp(x, -2, 3), [laid(s.integers(2, 4, low=-6, high=6), "transposed")])


def where(s):
    mask = s.integers(3, 4, high=2, dtype=torch.bool)
    a, b = s.normal(3, 4, salt="a"), s.normal(3, 4, salt="b")
    s.layouts("where", "Where", {}, torch.where, [mask, a, b], double=False)
    s.add("where/float64", "Where", {}, torch.where, [laid(mask, "transposed"), laid(a.double(), "narrowed"), laid(b.double())])
    s.add("where/broadcast", "Where", {}, torch.where, [laid(mask[:, :1]), laid(a[:1]), laid(b[0, 0])])
    s.add("where/mask-row", "Where", {}, torch.where, [laid(mask[0]), laid(a, "transposed"), expanded(b[:1], [3, 4])])
    s.add("where/size1", "Where", {}, torch.where, [laid(mask[:1, :1]), laid(a[:1, :1]), laid(b[:1, :1])])
    poison = torch.full((3, 4), NAN)
    s.add("where/nan", "Where", {}, torch.where, [laid(mask), laid(a), laid(poison)], kinks=True)
    s.add("where/int64", "Where", {}, torch.where, [laid(mask), laid(s.integers(3, 4), "transposed"), laid(s.integers(4, salt="b"))])
    s.add("where/bool", "Where", {}, torch.where, [laid(mask), laid(mask, "transposed"), laid(mask[:1])])
    s.add("where/promote", "Where", {}, torch.where, [laid(mask), laid(a), laid(s.integers(3, 4))], kinks=True)


def cast(s):
    floats = torch.tensor([0.0, 1.0, -1.0, 2.7, -2.7, 100.3, 0.1, 3.0e-5, 1.00390625, 1.01171875])
    extremes = torch.tensor([INF, -INF, NAN, 7.0e4, -7.0e4, 1e-7, 65519.0, 65520.0])
    for source in DTYPES.values():
        for target_name, target in DTYPES.items():
            if source == target:
                continue
            values = floats.abs() if target == torch.uint8 or source == torch.uint8 else floats
            values = values.to(source) if source != torch.bool else values > 0.5
            name = f"cast/{source}-{target_name}".replace("torch.", "")
            attrs = {"dtype": target_name}
            s.add(name, "Cast", attrs, lambda x, t=target: x.to(t), [laid(values)], kinks=True)
            if source in FLOATS and target in FLOATS:
                s.add(f"{name}/extremes", "Cast", attrs, lambda x, t=target: x.to(t), [laid(extremes.to(source))], grad=False)
    for source, target in (("float64", "float32"), ("float32", "bfloat16"), ("int64", "float32"), ("bool", "float32"), ("float32", "float64")):
        values = s.normal(3, 4, dtype=torch.float64).to(DTYPES[source])
        for layout in ("transposed", "narrowed"):
            s.add(f"cast/{source}-{target}/{layout}", "Cast", {"dtype": target}, lambda x, t=DTYPES[target]: x.to(t), [laid(values, layout)], kinks=True)
    s.add("cast/size1", "Cast", {"dtype": "float64"}, lambda x: x.to(torch.float64), [laid(s.normal(1, 1))], kinks=True)
    s.add("cast/identity", "Cast", {"dtype": "float64"}, lambda x: x.to(torch.float64), [laid(s.normal(2, 3, dtype=torch.float64), "transposed")])


def creation(s):
    for dtype in DTYPES:
        run = lambda t=DTYPES[dtype]: torch.full([2, 3], 1.0, dtype=t)
        s.add(f"full/{dtype}", "Fill", {"shape": [2, 3], "dtype": dtype, "value": 1.0}, run, [])
    s.add("full/scalar", "Fill", {"shape": [], "dtype": "float32", "value": 0.1}, lambda: torch.full([], 0.1), [])
    s.add("full/empty", "Fill", {"shape": [2, 0], "dtype": "float32", "value": 2.0}, lambda: torch.full([2, 0], 2.0), [])
    s.add("arange/int64", "Arange", {"len": 5, "dtype": "int64", "start": -2, "step": 3}, lambda: torch.arange(-2, 13, 3), [])
    s.add("arange/int32", "Arange", {"len": 4, "dtype": "int32", "start": 4, "step": -1}, lambda: torch.arange(4, 0, -1, dtype=torch.int32), [])
    s.add("arange/float32", "Arange", {"len": 7, "dtype": "float32", "start": 0.5, "step": 0.1}, lambda: torch.arange(0.5, 1.15, 0.1), [])
    s.add("arange/float64", "Arange", {"len": 3, "dtype": "float64", "start": 1.0, "step": -0.3}, lambda: torch.arange(1.0, 0.2, -0.3, dtype=torch.float64), [])
    s.add("arange/empty", "Arange", {"len": 0, "dtype": "int64", "start": 0, "step": 1}, lambda: torch.arange(0), [])


def contiguous(s):
    for dtype in DTYPES.values():
        values = (s.normal(2, 2, 3) * 4).abs().to(dtype)
        for layout in ("transposed", "narrowed"):
            name = f"contiguous/{dtype}/{layout}".replace("torch.", "")
            s.add(name, "Contiguous", {}, lambda x: x.contiguous(), [laid(values, layout)])
    values = s.normal(2, 3, 4)
    s.add("contiguous/plain", "Contiguous", {}, lambda x: x.contiguous(), [laid(values)])
    s.add("contiguous/expanded", "Contiguous", {}, lambda x: x.contiguous(), [expanded(values[:, :1], [2, 3, 4])])
    s.add("contiguous/size1", "Contiguous", {}, lambda x: x.contiguous(), [laid(values[:1, :1, :1], "narrowed")])
    swapped = Operand(values, [{"permute": [1, 0, 2]}])
    s.add("contiguous/swapped", "Contiguous", {}, lambda x: x.contiguous(), [swapped])


def suite():
    s = Suite("pointwise")
    for family in (unary, binary, scalar, clamp, where, cast, creation, contiguous):
        family(s)
    return s

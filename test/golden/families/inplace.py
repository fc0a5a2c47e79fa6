"""Ops that write their first operand, alone and as a view of a larger tensor."""
import torch

from suite import Suite, expanded, laid

BINARY = {"add": torch.Tensor.add_, "sub": torch.Tensor.sub_, "mul": torch.Tensor.mul_, "div": torch.Tensor.div_}


def suite():
    s = Suite("inplace")
    a, b = s.normal(3, 4, salt="a"), s.uniform(3, 4, low=0.5, high=2.0, salt="b")

    def add(name, op, attrs, fn, operands, **options):
        s.add(name, op, attrs, fn, operands, mutates=(0,), **options)

    for kind, fn in BINARY.items():
        attrs = {"kind": kind}
        name = f"{kind}_"
        for layout in ("contiguous", "transposed", "narrowed", "selected"):
            # A view is written without a tape, as in an optimiser.
            add(f"{name}/{layout}", "BinaryInto", attrs, fn, [laid(a, layout), laid(b, layout)], grad=layout == "contiguous")
            add(f"{name}/scalar/{layout}", "ScalarInto", attrs | {"value": 1.5}, lambda x, fn=fn: fn(x, 1.5), [laid(a, layout)], grad=layout == "contiguous")
        add(f"{name}/mixed", "BinaryInto", attrs, fn, [laid(a, "transposed"), laid(b, "narrowed")], grad=False)
        add(f"{name}/broadcast", "BinaryInto", attrs, fn, [laid(a), laid(b[:, :1], "narrowed")])
        add(f"{name}/row", "BinaryInto", attrs, fn, [laid(a), laid(b[0])])
        add(f"{name}/expanded", "BinaryInto", attrs, fn, [laid(a), expanded(b[:1], [3, 4])])
        add(f"{name}/size1", "BinaryInto", attrs, fn, [laid(a[:1, :1]), laid(b[:1, :1])])
        add(f"{name}/scalar/size1", "ScalarInto", attrs | {"value": 0.5}, lambda x, fn=fn: fn(x, 0.5), [laid(a[:1, :1])])
        add(f"{name}/float64", "BinaryInto", attrs, fn, [laid(a.double()), laid(b.double(), "transposed")])
        add(f"{name}/scalar/float64", "ScalarInto", attrs | {"value": 0.3}, lambda x, fn=fn: fn(x, 0.3), [laid(a.double(), "narrowed")], grad=False)
        if kind != "div":
            add(f"{name}/int64", "BinaryInto", attrs, fn, [laid(s.integers(2, 3), "transposed"), laid(s.integers(3, salt="i"))])
            add(f"{name}/scalar/int64", "ScalarInto", attrs | {"value": 3}, lambda x, fn=fn: fn(x, 3), [laid(s.integers(2, 3))])
    copy = torch.Tensor.copy_
    for layout in ("contiguous", "transposed", "narrowed", "selected"):
        add(f"copy_/{layout}", "CopyInto", {}, copy, [laid(a, layout), laid(b, layout)], grad=layout == "contiguous")
    add("copy_/mixed", "CopyInto", {}, copy, [laid(a, "narrowed"), laid(b, "transposed")], grad=False)
    add("copy_/broadcast", "CopyInto", {}, copy, [laid(a), laid(b[:1])])
    add("copy_/scalar", "CopyInto", {}, copy, [laid(a, "transposed"), laid(b[0, 0])], grad=False)
    add("copy_/size1", "CopyInto", {}, copy, [laid(a[:1, :1]), laid(b[:1, :1])])
    add("copy_/expanded", "CopyInto", {}, copy, [laid(a), expanded(b[:, :1], [3, 4])])
    add("copy_/cast", "CopyInto", {}, copy, [laid(a.double()), laid(b, "transposed")], kinks=True)
    add("copy_/from-int", "CopyInto", {}, copy, [laid(a), laid(s.integers(3, 4))], grad=False)
    add("copy_/to-int", "CopyInto", {}, copy, [laid(s.integers(3, 4)), laid(b * 3)], grad=False)
    return s

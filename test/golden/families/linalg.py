"""Matrix products."""
import torch
import torch.nn.functional as F

from suite import Suite, expanded, laid


def matmul(s):
    def layouts(name, a, b, **options):
        s.layouts(f"matmul/{name}", "Matmul", {}, torch.matmul, [s.normal(*a, salt="a"), s.normal(*b, salt="b")], **options)

    def one(name, a, b, **options):
        s.add(f"matmul/{name}", "Matmul", {}, torch.matmul, [a, b], **options)

    layouts("rank2", (3, 4), (4, 2))
    layouts("rank3", (2, 3, 4), (2, 4, 2))
    layouts("rank4", (2, 1, 3, 2), (1, 2, 2, 3), double=False)
    a, b = s.normal(3, 4, salt="l"), s.normal(4, 5, salt="r")
    for left in ("contiguous", "transposed", "narrowed"):
        for right in ("contiguous", "transposed", "narrowed"):
            if left != right:
                one(f"rank2/{left}-{right}", laid(a, left), laid(b, right))
    one("broadcast", laid(s.normal(3, 2, 2)), laid(s.normal(1, 2, 3)))
    one("broadcast/left", laid(s.normal(1, 2, 2)), laid(s.normal(3, 2, 3), "transposed"))
    one("row", laid(s.normal(1, 5)), laid(s.normal(5, 3)))
    one("column", laid(s.normal(4, 3)), laid(s.normal(3, 1)))
    one("outer", laid(s.normal(4, 1)), laid(s.normal(1, 3)))
    one("size1", laid(s.normal(1, 1)), laid(s.normal(1, 1, salt="b")))
    one("expanded", expanded(s.normal(1, 3), [2, 3]), expanded(s.normal(3, 1), [3, 2]))
    one("batch-expanded", expanded(s.normal(1, 2, 3), [2, 2, 3]), laid(s.normal(2, 3, 2)))
    one("inner0", laid(torch.zeros(2, 0)), laid(torch.zeros(0, 3)), kinks=True)
    one("odd", laid(s.normal(17, 33)), laid(s.normal(33, 9)), kinks=True)
    one("odd/transposed", laid(s.normal(17, 19), "transposed"), laid(s.normal(19, 23), "transposed"), grad=False)


def linear(s):
    x, weight, bias = s.normal(3, 4), s.normal(5, 4, salt="w"), s.normal(5, salt="b")
    attrs = {"bias": True, "relu": False}
    s.layouts("linear/bias", "Linear", attrs, F.linear, [x, weight, bias])
    s.layouts("linear/plain", "Linear", attrs | {"bias": False}, F.linear, [x, weight])
    # Only a plan fuses relu, after the tape has done its work: no derivative.
    s.layouts("linear/relu", "Linear", attrs | {"relu": True}, lambda x, w, b: F.linear(x, w, b).relu(), [x, weight, bias], grad=False)
    s.add("linear/relu/plain", "Linear", {"bias": False, "relu": True}, lambda x, w: F.linear(x, w).relu(), [laid(x), laid(weight)], grad=False)
    s.add("linear/rank1", "Linear", attrs, F.linear, [laid(x[0]), laid(weight), laid(bias)])
    s.add("linear/rank3", "Linear", attrs, F.linear, [laid(s.normal(2, 2, 4), "transposed"), laid(weight), laid(bias)])
    s.add("linear/rank4", "Linear", attrs | {"bias": False}, F.linear, [laid(s.normal(2, 1, 2, 4)), laid(weight, "transposed")])
    s.add("linear/size1", "Linear", attrs, F.linear, [laid(x[:1, :1]), laid(weight[:1, :1]), laid(bias[:1])])
    s.add("linear/expanded", "Linear", attrs, F.linear, [expanded(x[:1], [3, 4]), expanded(weight[:1], [5, 4]), expanded(bias[:1], [5])])
    s.add("linear/odd", "Linear", attrs, F.linear, [laid(s.normal(33, 17)), laid(s.normal(10, 17)), laid(s.normal(10))], kinks=True)


def suite():
    s = Suite("linalg")
    matmul(s)
    linear(s)
    return s

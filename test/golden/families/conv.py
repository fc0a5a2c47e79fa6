"""Convolution, pooling and batch normalisation, with the ops that are their derivatives."""
import torch
import torch.nn.functional as F

from suite import Operand, Suite, expanded, laid

NAN = float("nan")
# name: (x, weight, stride, padding, dilation, groups)
CONV = {
    "plain": ((2, 3, 4, 4), (2, 3, 3, 2), (1, 1), (0, 0), (1, 1), 1),
    "stride": ((1, 2, 6, 5), (2, 2, 3, 2), (2, 3), (0, 0), (1, 1), 1),
    "padding": ((1, 2, 3, 4), (2, 2, 3, 3), (1, 1), (1, 2), (1, 1), 1),
    "dilation": ((1, 2, 6, 5), (2, 2, 3, 2), (1, 1), (0, 0), (2, 3), 1),
    "groups": ((2, 4, 3, 3), (6, 2, 2, 2), (1, 1), (0, 0), (1, 1), 2),
    "depthwise": ((1, 3, 4, 4), (3, 1, 3, 3), (1, 1), (1, 1), (1, 1), 3),
    "everything": ((2, 4, 5, 4), (4, 2, 2, 3), (2, 1), (1, 2), (2, 1), 2),
    "pointwise": ((2, 3, 3, 2), (4, 3, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    "pointwise-stride": ((1, 3, 5, 4), (2, 3, 1, 1), (2, 2), (0, 0), (1, 1), 1),
    "whole": ((2, 2, 3, 3), (3, 2, 3, 3), (1, 1), (0, 0), (1, 1), 1),
    "gap": ((1, 1, 6, 6), (1, 1, 2, 2), (3, 3), (0, 0), (1, 1), 1),
    "size1": ((1, 1, 1, 1), (1, 1, 1, 1), (1, 1), (0, 0), (1, 1), 1),
}


def conv2d(s):
    for name, (x_shape, w_shape, stride, padding, dilation, groups) in CONV.items():
        geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        x, weight, bias = s.normal(*x_shape, salt="x"), s.normal(*w_shape, salt="w"), s.normal(w_shape[0], salt="b")

        def run(x, w, b=None, stride=stride, padding=padding, dilation=dilation, groups=groups):
            return F.conv2d(x, w, b, stride, padding, dilation, groups)

        def grad_input(grad, w, run=run, x=x):
            x = x.to(grad.dtype).requires_grad_()
            return torch.autograd.grad(run(x, w), x, grad, create_graph=True)[0]

        def grad_weight(grad, x, run=run, weight=weight):
            w = weight.to(grad.dtype).requires_grad_()
            return torch.autograd.grad(run(x, w), w, grad, create_graph=True)[0]

        # An operand that is no leaf would hide the graph of the double backward pass, so both need gradients there.
        grad = s.normal(*run(x, weight).shape, salt="g")
        by_input, by_weight = geometry | {"shape": x_shape}, geometry | {"shape": w_shape}
        if name == "everything":
            s.layouts(f"conv2d/{name}", "Conv2d", geometry | {"bias": True}, run, [x, weight, bias])
            s.layouts(f"conv2dGradInput/{name}", "Conv2dGradInput", by_input, grad_input, [grad, weight])
            s.layouts(f"conv2dGradWeight/{name}", "Conv2dGradWeight", by_weight, grad_weight, [grad, x])
        else:
            s.add(f"conv2d/{name}", "Conv2d", geometry | {"bias": True}, run, [laid(x), laid(weight), laid(bias)])
            s.add(f"conv2dGradInput/{name}", "Conv2dGradInput", by_input, grad_input, [laid(grad), laid(weight)])
            s.add(f"conv2dGradWeight/{name}", "Conv2dGradWeight", by_weight, grad_weight, [laid(grad), laid(x)])
        if name in ("pointwise", "groups", "stride"):
            channels_last = Operand(x.permute(0, 2, 3, 1), [{"permute": [0, 3, 1, 2]}])
            s.add(f"conv2d/{name}/channels-last", "Conv2d", geometry | {"bias": False}, run, [channels_last, laid(weight, "transposed")])
    geometry = {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1, "bias": True}
    operands = [expanded(s.normal(1, 1, 3, 3), [2, 2, 3, 3]), expanded(s.normal(1, 1, 2, 2), [2, 2, 2, 2]), expanded(s.normal(1), [2])]
    s.add("conv2d/expanded", "Conv2d", geometry, F.conv2d, operands)


# name: (x, kernel, stride, padding, dilation, ceil)
POOL = {
    "plain": ((2, 2, 4, 4), (2, 2), (2, 2), (0, 0), (1, 1), False),
    "overlap": ((1, 2, 5, 5), (3, 3), (2, 2), (1, 1), (1, 1), False),
    "leftover": ((1, 1, 5, 5), (2, 2), (2, 2), (0, 0), (1, 1), False),
    "ceil": ((1, 1, 5, 6), (2, 3), (2, 2), (0, 0), (1, 1), True),
    "ceil-padding": ((1, 2, 4, 5), (3, 2), (2, 2), (1, 1), (1, 1), True),
    "uneven": ((2, 1, 4, 5), (1, 3), (2, 1), (0, 1), (1, 1), False),
    "dilation": ((1, 1, 5, 6), (2, 2), (1, 2), (0, 1), (2, 3), False),
    "size1": ((1, 1, 1, 1), (1, 1), (1, 1), (0, 0), (1, 1), False),
}


def pooling(s):
    for name, (shape, kernel, stride, padding, dilation, ceil) in POOL.items():
        attrs = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "ceil": ceil}
        run_max = lambda x: F.max_pool2d(x, kernel, stride, padding, dilation, ceil, return_indices=True)
        run_avg = lambda x: F.avg_pool2d(x, kernel, stride, padding, ceil)
        x = s.normal(*shape, salt=name)
        indices = run_max(x)[1]
        grad = s.normal(*indices.shape, salt="g")

        def max_grad(grad, indices, shape=shape):
            planes = torch.zeros(shape[0], shape[1], shape[2] * shape[3], dtype=grad.dtype)
            return planes.scatter_add(2, indices.flatten(2), grad.flatten(2)).reshape(shape)

        spread = name == "overlap"
        (s.layouts if spread else one(s))(f"maxPool2d/{name}", "MaxPool2d", attrs, run_max, [x])
        (s.layouts if spread else one(s))(f"maxPool2dGrad/{name}", "MaxPool2dGrad", attrs | {"shape": shape}, max_grad, [grad, indices])
        if dilation != (1, 1):
            continue

        def avg_grad(grad, shape=shape, run=run_avg):
            x = torch.zeros(shape, dtype=grad.dtype, requires_grad=True)
            return torch.autograd.grad(run(x), x, grad, create_graph=True)[0]

        (s.layouts if spread else one(s))(f"avgPool2d/{name}", "AvgPool2d", attrs, run_avg, [x])
        (s.layouts if spread else one(s))(f"avgPool2dGrad/{name}", "AvgPool2dGrad", attrs | {"shape": shape}, avg_grad, [grad])
    attrs = {"kernel": [2, 2], "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "ceil": False}
    run = lambda x: F.max_pool2d(x, 2, 1, return_indices=True)
    ties = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 2.0], [NAN, 0.0, 2.0]]).reshape(1, 1, 3, 3)
    s.add("maxPool2d/ties", "MaxPool2d", attrs, run, [laid(ties)], kinks=True)
    s.add("maxPool2d/infinite", "MaxPool2d", attrs, run, [laid(torch.full((1, 1, 2, 2), -float("inf")))], kinks=True)
    s.add("maxPool2d/expanded", "MaxPool2d", attrs, run, [expanded(s.normal(1, 1, 3, 3), [2, 2, 3, 3])])
    s.add("avgPool2d/expanded", "AvgPool2d", attrs, lambda x: F.avg_pool2d(x, 2, 1), [expanded(s.normal(1, 1, 3, 3), [2, 2, 3, 3])])


def one(s):
    """The case on contiguous operands only."""
    return lambda name, op, attrs, fn, values, **options: s.add(name, op, attrs, fn, [laid(v) for v in values], **options)


def batch_norm(s):
    for name, shape in (("image", (2, 3, 2, 3)), ("rows", (5, 3)), ("sequence", (2, 3, 4)), ("size1", (4, 1, 1, 1))):
        c = shape[1]
        x, weight, bias = s.normal(*shape) * 2 + 1, s.uniform(c, low=0.5, high=1.5), s.normal(c)
        mean, var = s.normal(c, salt="m"), s.uniform(c, low=0.5, high=2.0, salt="v")
        for affine in (True, False):
            for stats in (True, False):
                momentum, eps = (0.1, 1e-5) if affine else (0.3, 1e-3)

                def run(x, *rest, affine=affine, stats=stats, momentum=momentum, eps=eps):
                    w, b = rest[:2] if affine else (None, None)
                    running = rest[-2:] if stats else (None, None)
                    return torch.native_batch_norm(x, w, b, *running, True, momentum, eps)

                attrs = {"eps": eps, "momentum": momentum, "affine": affine, "stats": stats}
                mutates = ((3, 4) if affine else (1, 2)) if stats else ()
                values = [x] + ([weight, bias] if affine else [])
                running = [Operand(mean, [], False), Operand(var, [], False)] if stats else []
                case = f"batchNorm/{name}{'/affine' if affine else ''}{'/stats' if stats else ''}"
                for layout in ("contiguous", "transposed", "narrowed", "selected") if name == "image" and affine else ("contiguous",):
                    operands = [laid(v, layout) for v in values] + running
                    s.add(f"{case}/{layout}", "BatchNorm", attrs, run, operands, mutates=mutates)
                if name == "image":
                    wide = [Operand(o.base.double(), [], False) for o in running]
                    s.add(f"{case}/float64", "BatchNorm", attrs, run, [laid(v.double(), "transposed") for v in values] + wide, mutates=mutates)
            grad = s.normal(*shape, salt="g")
            _, saved, invstd = torch.native_batch_norm(x, None, None, None, None, True, 0.1, 1e-5)

            def backward(grad, x, *rest, affine=affine):
                w = rest[0] if affine else None
                dx, dw, db = torch.ops.aten.native_batch_norm_backward(grad, x, w, None, None, rest[-2], rest[-1], True, 1e-5, [True, affine, affine])
                return (dx, dw, db) if affine else (dx, None, None)

            values = [grad, x] + ([weight] if affine else []) + [saved, invstd]
            # Its derivative is that of batchNorm's second: mean and invstd are functions of x there, not operands.
            for layout in ("contiguous", "transposed", "narrowed") if name == "image" else ("contiguous",):
                case = f"batchNormGrad/{name}{'/affine' if affine else ''}/{layout}"
                s.add(case, "BatchNormGrad", {"affine": affine}, backward, [laid(v, layout) for v in values], grad=False)


def suite():
    s = Suite("conv")
    for family in (conv2d, pooling, batch_norm):
        family(s)
    return s

"""Gather, scatter, index and join."""
import torch

from suite import Suite, expanded, laid


def gather_scatter(s):
    x = s.normal(3, 4)
    for dim, shape in ((0, (5, 4)), (1, (3, 2)), (1, (2, 6))):
        index = s.integers(*shape, high=x.shape[dim])
        src = s.normal(*shape, salt="src")
        name = f"{dim}x{shape[0]}x{shape[1]}"
        s.layouts(f"gather/{name}", "Gather", {"dim": dim}, lambda x, i, dim=dim: torch.gather(x, dim, i), [x, index], double=dim == 0)
        run = lambda x, i, src, dim=dim: torch.scatter_add(x, dim, i, src)
        s.layouts(f"scatterAdd/{name}", "ScatterAdd", {"dim": dim}, run, [x, index, src], double=dim == 0)
    gather, scatter = (lambda x, i: torch.gather(x, 0, i)), (lambda x, i, src: torch.scatter_add(x, 0, i, src))
    zero = torch.zeros(1, 1, dtype=torch.int64)
    s.add("gather/size1", "Gather", {"dim": 0}, gather, [laid(x[:1, :1]), laid(zero)])
    s.add("gather/rank3", "Gather", {"dim": 1}, lambda x, i: torch.gather(x, 1, i), [laid(s.normal(2, 3, 2), "transposed"), laid(s.integers(2, 4, 2, high=3))])
    s.add("gather/expanded", "Gather", {"dim": 0}, gather, [expanded(x[:, :1], [3, 4]), expanded(torch.tensor([[2], [0]]), [2, 4])])
    s.add("gather/int64", "Gather", {"dim": 0}, gather, [laid(s.integers(3, 2)), laid(s.integers(2, 2, high=3))])
    s.add("scatterAdd/size1", "ScatterAdd", {"dim": 0}, scatter, [laid(x[:1, :1]), laid(zero), laid(x[1:2, 1:2])])
    same = torch.ones(3, 4, dtype=torch.int64)
    s.add("scatterAdd/collide", "ScatterAdd", {"dim": 0}, scatter, [laid(x), laid(same), laid(s.normal(3, 4, salt="c"))])
    s.add("scatterAdd/int64", "ScatterAdd", {"dim": 0}, scatter, [laid(s.integers(3, 2)), laid(s.integers(4, 2, high=3)), laid(s.integers(4, 2, salt="s"))])


def index(s):
    x = s.normal(3, 4, 2)
    for dim in range(3):
        rows = s.integers(5, high=x.shape[dim], salt=str(dim))
        shape = list(x.shape)
        shape[dim] = 5
        src = s.normal(*shape, salt="src")
        s.layouts(f"indexSelect/{dim}", "IndexSelect", {"dim": dim}, lambda x, i, d=dim: torch.index_select(x, d, i), [x, rows], double=dim == 1)
        s.layouts(f"indexAdd/{dim}", "IndexAdd", {"dim": dim}, lambda x, i, src, d=dim: torch.index_add(x, d, i, src), [x, rows, src], double=dim == 1)
    one = torch.zeros(1, dtype=torch.int64)
    select, add = (lambda x, i: torch.index_select(x, 0, i)), (lambda x, i, src: torch.index_add(x, 0, i, src))
    s.add("indexSelect/size1", "IndexSelect", {"dim": 0}, select, [laid(x[:1, :1, 0]), laid(one)])
    s.add("indexSelect/rank1", "IndexSelect", {"dim": 0}, select, [laid(x[0, :, 0], "narrowed"), laid(torch.tensor([3, 0, 3]))])
    s.add("indexSelect/none", "IndexSelect", {"dim": 0}, select, [laid(x[:, :, 0]), laid(one[:0])], kinks=True)
    s.add("indexSelect/int64", "IndexSelect", {"dim": 0}, select, [laid(s.integers(3, 2), "transposed"), laid(torch.tensor([2, 2, 1]))])
    s.add("indexSelect/uint8", "IndexSelect", {"dim": 0}, select, [laid(s.integers(3, 2, dtype=torch.uint8)), laid(torch.tensor([2, 0]))])
    s.add("indexAdd/size1", "IndexAdd", {"dim": 0}, add, [laid(x[:1, :1, 0]), laid(one), laid(x[1:2, 1:2, 0])])
    s.add("indexAdd/expanded", "IndexAdd", {"dim": 0}, add, [laid(x[:, :, 0]), laid(torch.tensor([1, 1])), expanded(x[:1, :1, 1], [2, 4])])
    s.add("indexAdd/int64", "IndexAdd", {"dim": 0}, add, [laid(s.integers(3, 2)), laid(torch.tensor([0, 0])), laid(s.integers(2, 2, salt="s"))])


def cat(s):
    x = s.normal(2, 3, 2)
    for dim in range(3):
        run = lambda *xs, d=dim: torch.cat(xs, d)
        shape = list(x.shape)
        shape[dim] += 1
        s.layouts(f"cat/{dim}", "Cat", {"dim": dim}, run, [x, s.normal(*shape), s.normal(2, 3, 2, salt="third")], double=dim == 1)
    run = lambda *xs: torch.cat(xs, 0)
    s.add("cat/one", "Cat", {"dim": 0}, run, [laid(x, "transposed")])
    s.add("cat/many", "Cat", {"dim": 0}, run, [laid(s.normal(1, 2, salt=str(i))) for i in range(7)])
    s.add("cat/size1", "Cat", {"dim": 0}, run, [laid(x[0, 0, :1]), laid(x[1, 0, :1])])
    s.add("cat/empty", "Cat", {"dim": 0}, run, [laid(x[:0]), laid(x)], kinks=True)
    s.add("cat/expanded", "Cat", {"dim": 0}, run, [expanded(x[0, :, :1], [3, 2]), laid(x[0])])
    s.add("cat/bool", "Cat", {"dim": 0}, run, [laid(x > 0), laid(x < 1, "transposed")])
    s.add("cat/int64", "Cat", {"dim": 0}, run, [laid(s.integers(2, 2)), laid(s.integers(1, 2))])
    s.add("cat/promote", "Cat", {"dim": 0}, run, [laid(s.integers(2, 2)), laid(s.normal(1, 2))], kinks=True)


def narrow_grad(s):
    for name, shape, dim, start, step, length in (("first", [5, 3], 0, 1, 1, 3), ("last", [2, 7], 1, 1, 2, 3), ("middle", [2, 4, 2], 1, 2, 1, 2)):
        grad_shape = list(shape)
        grad_shape[dim] = length

        def run(grad, shape=shape, dim=dim, start=start, step=step, length=length):
            rows = torch.arange(start, start + step * length, step)
            return torch.zeros(shape, dtype=grad.dtype).index_add(dim, rows, grad)

        attrs = {"shape": shape, "dim": dim, "start": start, "step": step}
        s.layouts(f"narrowGrad/{name}", "NarrowGrad", attrs, run, [s.normal(*grad_shape)])
    pad = lambda g: torch.cat([torch.zeros(1), g, torch.zeros(1)])
    s.add("narrowGrad/size1", "NarrowGrad", {"shape": [3], "dim": 0, "start": 1, "step": 1}, pad, [laid(s.normal(1))])
    s.add("narrowGrad/expanded", "NarrowGrad", {"shape": [3], "dim": 0, "start": 1, "step": 1}, lambda g: torch.cat([torch.zeros(1), g]), [expanded(s.normal(1), [2])])


def suite():
    s = Suite("indexing")
    for family in (gather_scatter, index, cat, narrow_grad):
        family(s)
    return s

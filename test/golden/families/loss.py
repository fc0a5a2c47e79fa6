"""Cross-entropy and the running loss."""
import torch
import torch.nn.functional as F

from suite import Operand, Suite, laid

INF = float("inf")


def suite():
    s = Suite("loss")
    logits, target = s.normal(5, 4), torch.tensor([0, 3, 1, 3, 2])
    for reduction in ("mean", "sum", "none"):
        for smoothing in (0.0, 0.1):
            for ignore in (-100, 3):
                attrs = {"ignore_index": ignore, "smoothing": smoothing, "reduction": reduction}
                options = {"ignore_index": ignore, "label_smoothing": smoothing, "reduction": reduction}

                def run(x, t, options=options):
                    return F.cross_entropy(x, t, **options), torch.logsumexp(x, -1)

                def backward(grad, x, t, lse, options=options):
                    x = x.detach().requires_grad_()
                    return torch.autograd.grad(F.cross_entropy(x, t, **options), x, grad)[0]

                name = f"{reduction}/{smoothing}/{ignore}"
                layouts = ("contiguous", "transposed", "narrowed", "selected") if ignore == -100 else ("narrowed",)
                for layout in layouts:
                    s.add(f"crossEntropy/{name}/{layout}", "CrossEntropy", attrs, run, [laid(logits, layout), laid(target, layout)])
                upstream = s.normal(*([5] if reduction == "none" else []), salt="g")
                values = [upstream, logits, target, torch.logsumexp(logits, -1)]
                for layout in layouts[:3]:
                    s.add(f"crossEntropyGrad/{name}/{layout}", "CrossEntropyGrad", attrs, backward, [laid(v, layout) for v in values], grad=False)
                if ignore == -100:
                    wide = [laid(logits.double(), "transposed"), laid(target)]
                    s.add(f"crossEntropy/{name}/float64", "CrossEntropy", attrs, run, wide)
    attrs = {"ignore_index": -100, "smoothing": 0.0, "reduction": "mean"}
    run = lambda x, t: (F.cross_entropy(x, t), torch.logsumexp(x, -1))
    s.add("crossEntropy/size1", "CrossEntropy", attrs, run, [laid(logits[:1, :1]), laid(target[:1])])
    s.add("crossEntropy/one-row", "CrossEntropy", attrs, run, [laid(logits[:1]), laid(target[:1])])
    s.add("crossEntropy/one-class", "CrossEntropy", attrs, run, [laid(logits[:3, :1]), laid(torch.zeros(3, dtype=torch.int64))])
    s.add("crossEntropy/wide", "CrossEntropy", attrs, run, [laid(s.normal(3, 37)), laid(torch.tensor([36, 0, 17]))])
    s.add("crossEntropy/all-ignored", "CrossEntropy", attrs, run, [laid(logits[:2]), laid(torch.tensor([-100, -100]))], kinks=True)
    huge = torch.tensor([[1e4, -1e4, 0.0], [88.0, 90.0, -90.0], [-INF, 0.0, 1.0]])
    s.add("crossEntropy/huge", "CrossEntropy", attrs, run, [laid(huge), laid(torch.tensor([1, 0, 1]))], kinks=True)

    def track(tracker, loss, weight):
        finite = bool(torch.isfinite(loss))
        tracker[0] += loss.double() * weight
        tracker[1] += weight
        tracker[2] = tracker[2] if finite else 1.0
        tracker[3] = loss.double()
        return tracker.clone()

    for name, loss in (("plain", 0.625), ("nan", float("nan")), ("inf", INF)):
        start = torch.tensor([1.5, 32.0, 0.0, 0.5], dtype=torch.float64)
        run = lambda tracker, loss: track(tracker, loss, 16.0)
        s.add(f"trackLoss/{name}", "TrackLoss", {"weight": 16.0}, run, [laid(start), laid(torch.tensor(loss), grad=False)], grad=False, mutates=(0,))
    return s

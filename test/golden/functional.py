"""Makes `functional.json`: what PyTorch's `torch.nn.functional` gives for the functions that `ts/nn` composes of ops.

    python test/golden/functional.py

A case: {"name", "fn", "args", "options", "out", "grads", "after"}. Tensors are {"shape", "data", "dtype"?, "grad"?}; dtype is float64
unless given. `options` are the TypeScript function's. `grads` are those of `sum(out * cos(0, 1, 2, ..))` by each argument and
tensor option that has `grad`; `after` are arguments that the call changes.
"""
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F

TORCH = "2.11.0"
cases = []
torch.manual_seed(3)


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64).mul(2).round(decimals=3)


def encode(t, grad=False):
    flat = t.detach().flatten().tolist()
    if t.dtype == torch.float64:
        flat = [("inf" if v > 0 else "-inf" if v < 0 else "nan") if not math.isfinite(v) else float(f"{v:.12g}") for v in flat]
    entry = {"shape": list(t.shape), "data": flat}
    if t.dtype != torch.float64:
        entry["dtype"] = str(t.dtype).removeprefix("torch.")
    if grad:
        entry["grad"] = True
    return entry


def add(name, fn, run, tensors, options=None, extra=(), between=(), no_grad=(), mutates=()):
    """`tensors` are the leading arguments (None for null), `between` plain ones after them, `extra` tensor options by name."""
    extra = dict(extra)
    leaves = [t for t in [*tensors, *extra.values()] if t is not None and t.dtype == torch.float64 and not any(t is n for n in no_grad)]
    encoded_args = [None if t is None else encode(t, any(t is l for l in leaves)) for t in tensors]
    encoded_extra = {k: encode(t, any(t is l for l in leaves)) for k, t in extra.items()}
    for leaf in leaves:
        leaf.requires_grad_()
    out = run(*tensors, *between, **{k: v for k, v in extra.items()})
    weights = torch.arange(out.numel(), dtype=torch.float64).cos().reshape(out.shape)
    grads = torch.autograd.grad((out * weights).sum(), leaves, allow_unused=True)
    cases.append({
        "name": name, "fn": fn, "args": [*encoded_args, *between], "options": {**(options or {}), **encoded_extra}, "out": encode(out),
        "grads": [None if g is None else encode(g) for g in grads], "after": [encode(t) for t in mutates],
    })
    for leaf in leaves:
        leaf.requires_grad_(False)


def activations():
    points = lambda: torch.tensor([-50, -30, -6, -3, -1.5, -1, -0.3, 0, 0.3, 1, 1.5, 3, 6, 30, 50], dtype=torch.float64)
    plain = {"relu": F.relu, "selu": F.selu, "silu": F.silu, "mish": F.mish, "relu6": F.relu6, "hardsigmoid": F.hardsigmoid, "hardtanh": F.hardtanh,
             "sigmoid": torch.sigmoid, "logSigmoid": F.logsigmoid, "tanh": torch.tanh, "softplus": F.softplus, "softsign": F.softsign, "gelu": F.gelu}
    for name, fn in plain.items():
        add(name, name, fn, [points()])
    # At its corners PyTorch's derivative depends on the version.
    add("hardswish", "hardswish", F.hardswish, [points()[[0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14]]])
    add("gelu/tanh", "gelu", lambda x: F.gelu(x, approximate="tanh"), [points()], {"approximate": "tanh"})
    add("hardtanh/bounds", "hardtanh", lambda x: F.hardtanh(x, -3, 1.5), [points()], {"minVal": -3, "maxVal": 1.5})
    add("softplus/options", "softplus", lambda x: F.softplus(x, 2, 3), [points()], {"beta": 2, "threshold": 3})
    for name, fn in {"leakyRelu": F.leaky_relu, "elu": F.elu, "celu": F.celu}.items():
        add(name, name, lambda x, a, fn=fn: fn(x, a), [points()], between=[0.3])
    add("prelu", "prelu", F.prelu, [points(), normal(1)])
    add("prelu/channels", "prelu", F.prelu, [normal(2, 3, 2), normal(3)])
    add("glu", "glu", lambda x, d: F.glu(x, d), [normal(2, 4, 3)], between=[1])
    for name, fn in {"softmax": F.softmax, "logSoftmax": F.log_softmax}.items():
        add(name, name, lambda x, d, fn=fn: fn(x, d), [normal(2, 4, 3)], between=[1])


def layers():
    add("linear", "linear", F.linear, [normal(2, 3, 4), normal(5, 4), normal(5)])
    add("bilinear", "bilinear", F.bilinear, [normal(2, 3, 4), normal(2, 3, 2), normal(5, 4, 2), normal(5)])
    conv = lambda **o: lambda x, w, b: F.conv2d(x, w, b, **o)
    add("conv2d/options", "conv2d", conv(stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2), [normal(2, 4, 6, 7), normal(6, 2, 3, 2), normal(6)],
        {"stride": [2, 1], "padding": [1, 2], "dilation": [1, 2], "groups": 2})
    for kernel in ([3, 3], [2, 4]):
        add(f"conv2d/same/{kernel}", "conv2d", conv(padding="same"), [normal(1, 2, 5, 6), normal(3, 2, *kernel), normal(3)], {"padding": "same"})
    add("conv2d/unbatched", "conv2d", conv(padding="valid"), [normal(2, 5, 5), normal(3, 2, 3, 3), None], {"padding": "valid"})
    add("maxPool2d", "maxPool2d", lambda x, k: F.max_pool2d(x, k, 2, 1, ceil_mode=True), [normal(2, 2, 5, 6)], {"stride": 2, "padding": 1, "ceilMode": True}, between=[3])
    add("avgPool2d/unbatched", "avgPool2d", lambda x, k: F.avg_pool2d(x, k), [normal(2, 4, 6)], between=[[2, 3]])
    for size in (1, 2, 3, [4, 5], [None, 1], 7):
        add(f"adaptiveAvgPool2d/{size}", "adaptiveAvgPool2d", F.adaptive_avg_pool2d, [normal(2, 2, 4, 6)], between=[size])
    add("layerNorm", "layerNorm", lambda x, s, weight, bias: F.layer_norm(x, s, weight, bias, 1e-3), [normal(2, 3, 4)], {"eps": 1e-3},
        {"weight": normal(3, 4), "bias": normal(3, 4)}, between=[[3, 4]])
    add("layerNorm/plain", "layerNorm", F.layer_norm, [normal(2, 3)], between=[[3]])
    add("rmsNorm", "rmsNorm", lambda x, s, weight: F.rms_norm(x, s, weight), [normal(2, 3, 4)], {}, {"weight": normal(4)}, between=[[4]])
    add("groupNorm", "groupNorm", lambda x, g, weight, bias: F.group_norm(x, g, weight, bias), [normal(2, 4, 3)], {}, {"weight": normal(4), "bias": normal(4)}, between=[2])
    for training in (True, False):
        for shape in ([4, 3], [2, 3, 2], [2, 3, 2, 2]):
            mean, var = normal(3), normal(3).abs() + 0.5
            add(f"batchNorm/{'training' if training else 'evaluation'}/{shape}", "batchNorm",
                lambda x, m, v, weight, bias: F.batch_norm(x, m, v, weight, bias, training, 0.3, 1e-3), [normal(*shape), mean, var],
                {"training": training, "momentum": 0.3, "eps": 1e-3}, {"weight": normal(3), "bias": normal(3)}, no_grad=[mean, var], mutates=[mean, var] if training else [])
    add("batchNorm/plain", "batchNorm", lambda x, m, v: F.batch_norm(x, m, v, training=True), [normal(4, 3), None, None], {"training": True})
    add("embedding", "embedding", F.embedding, [torch.tensor([[0, 3], [3, 1]]), normal(4, 2)])
    q, k, v = normal(2, 2, 3, 4), normal(2, 2, 5, 4), normal(2, 2, 5, 3)
    sdpa = lambda **o: lambda q, k, v, attn_mask=None: F.scaled_dot_product_attention(q, k, v, attn_mask, **o)
    add("attention", "scaledDotProductAttention", sdpa(), [q, k, v])
    add("attention/causal", "scaledDotProductAttention", sdpa(is_causal=True, scale=0.3), [q, k, v], {"isCausal": True, "scale": 0.3})
    mask = normal(3, 5)
    add("attention/mask", "scaledDotProductAttention", lambda q, k, v, attnMask: sdpa()(q, k, v, attnMask), [q, k, v], {}, {"attnMask": mask})
    seen = torch.ones(3, 5).tril(1).bool()
    add("attention/bool", "scaledDotProductAttention", lambda q, k, v, attnMask: sdpa()(q, k, v, attnMask), [q, k, v], {}, {"attnMask": seen})


def losses():
    for reduction in ("mean", "sum", "none"):
        o = {"reduction": reduction}
        def loss(name, fn, run, tensors, options=None, **rest):
            add(f"{name}/{reduction}", fn, lambda *a, **k: run(*a, **k, reduction=reduction), tensors, {**(options or {}), **o}, **rest)
        labels, cube = torch.tensor([0, 2, -100, 4, 1]), torch.tensor([[0, 2, 1], [1, -1, 2]])
        weight = normal(5).abs() + 0.1
        loss("crossEntropy", "crossEntropy", F.cross_entropy, [normal(5, 5), labels])
        loss("crossEntropy/smooth", "crossEntropy", lambda x, t, **k: F.cross_entropy(x, t, label_smoothing=0.2, **k), [normal(5, 5), labels], {"labelSmoothing": 0.2})
        loss("crossEntropy/weight", "crossEntropy", lambda x, t, **k: F.cross_entropy(x, t, label_smoothing=0.2, **k), [normal(5, 5), labels], {"labelSmoothing": 0.2},
             extra={"weight": weight}, no_grad=[weight])
        loss("crossEntropy/dims", "crossEntropy", lambda x, t, **k: F.cross_entropy(x, t, ignore_index=-1, **k), [normal(2, 3, 3), cube], {"ignoreIndex": -1})
        loss("crossEntropy/single", "crossEntropy", F.cross_entropy, [normal(4), torch.tensor(2)])
        soft = F.softmax(normal(2, 3, 4), 1)
        three = normal(3).abs()
        loss("crossEntropy/soft", "crossEntropy", lambda x, t, **k: F.cross_entropy(x, t, label_smoothing=0.1, **k), [normal(2, 3, 4), soft], {"labelSmoothing": 0.1},
             extra={"weight": three}, no_grad=[three])
        loss("nllLoss", "nllLoss", F.nll_loss, [normal(5, 5), labels], extra={"weight": weight}, no_grad=[weight])
        loss("nllLoss/dims", "nllLoss", lambda x, t, **k: F.nll_loss(x, t, ignore_index=-1, **k), [normal(2, 3, 3), cube], {"ignoreIndex": -1})
        a, b = normal(3, 4), normal(3, 4)
        b[0, 0] = a[0, 0]
        loss("mseLoss", "mseLoss", F.mse_loss, [a, b])
        loss("l1Loss", "l1Loss", F.l1_loss, [a, b])
        loss("smoothL1Loss", "smoothL1Loss", lambda x, t, **k: F.smooth_l1_loss(x, t, beta=0.7, **k), [a, b], {"beta": 0.7})
        loss("huberLoss", "huberLoss", lambda x, t, **k: F.huber_loss(x, t, delta=0.7, **k), [a, b], {"delta": 0.7})
        p, t = torch.rand(3, 4, dtype=torch.float64), torch.rand(3, 4, dtype=torch.float64)
        t[0, :2] = torch.tensor([0.0, 1.0])
        four = weight[:4].clone()
        loss("binaryCrossEntropy", "binaryCrossEntropy", F.binary_cross_entropy, [p, t], extra={"weight": four}, no_grad=[four, t])
        logits = normal(3, 4)
        logits[0] = torch.tensor([0.0, -60, 60, 500])
        pos = normal(4).abs()
        loss("binaryCrossEntropyWithLogits", "binaryCrossEntropyWithLogits", lambda x, t, posWeight, **k: F.binary_cross_entropy_with_logits(x, t, pos_weight=posWeight, **k),
             [logits, t], extra={"posWeight": pos}, no_grad=[pos, t])
        q = F.softmax(normal(3, 4), -1)
        q[0, 0] = 0
        loss("klDiv", "klDiv", F.kl_div, [normal(3, 4), q], no_grad=[q])
        loss("klDiv/log", "klDiv", lambda x, t, **k: F.kl_div(x, t, log_target=True, **k), [normal(3, 4), normal(3, 4)], {"logTarget": True})
        counts = torch.tensor([[0.0, 1, 2, 5]], dtype=torch.float64)
        loss("poissonNllLoss", "poissonNllLoss", lambda x, t, **k: F.poisson_nll_loss(x, t, full=True, **k), [normal(3, 4), counts], {"full": True}, no_grad=[counts])
        loss("poissonNllLoss/plain", "poissonNllLoss", lambda x, t, **k: F.poisson_nll_loss(x, t, log_input=False, **k), [normal(3, 4).abs(), counts], {"logInput": False}, no_grad=[counts])
        var = normal(3, 4).abs()
        var[0, 0] = 1e-9
        loss("gaussianNllLoss", "gaussianNllLoss", lambda x, t, v, **k: F.gaussian_nll_loss(x, t, v, full=True, eps=1e-3, **k), [a, b, var], {"full": True, "eps": 1e-3})
        hits = t.round()
        loss("multiLabelSoftMarginLoss", "multiLabelSoftMarginLoss", F.multilabel_soft_margin_loss, [normal(3, 4), hits], no_grad=[hits, four], extra={"weight": four})
        signs = torch.tensor([1.0, -1, 1], dtype=torch.float64)
        rows = signs.expand(2, 3).contiguous()
        loss("softMarginLoss", "softMarginLoss", F.soft_margin_loss, [normal(2, 3), rows], no_grad=[rows])
        loss("cosineEmbeddingLoss", "cosineEmbeddingLoss", lambda x, y, t, **k: F.cosine_embedding_loss(x, y, t, margin=0.1, **k), [a, b, signs], {"margin": 0.1}, no_grad=[signs])
        loss("marginRankingLoss", "marginRankingLoss", lambda x, y, t, **k: F.margin_ranking_loss(x, y, t, margin=0.3, **k), [normal(3), normal(3), signs], {"margin": 0.3}, no_grad=[signs])
        loss("hingeEmbeddingLoss", "hingeEmbeddingLoss", F.hinge_embedding_loss, [normal(2, 3), rows], no_grad=[rows])
        loss("tripletMarginLoss", "tripletMarginLoss", lambda x, y, z, **k: F.triplet_margin_loss(x, y, z, swap=True, **k), [normal(3, 4), normal(3, 4), normal(3, 4)], {"swap": True})
    add("klDiv/batchmean", "klDiv", lambda x, t: F.kl_div(x, t, reduction="batchmean"), [normal(3, 4), F.softmax(normal(3, 4), -1)], {"reduction": "batchmean"})
    add("normalize", "normalize", F.normalize, [normal(3, 4)])
    add("normalize/p", "normalize", lambda x: F.normalize(x, 3, 0), [normal(3, 4)], {"p": 3, "dim": 0})
    add("cosineSimilarity", "cosineSimilarity", F.cosine_similarity, [normal(3, 4), normal(3, 4)])
    add("pairwiseDistance", "pairwiseDistance", lambda x, y: F.pairwise_distance(x, y, keepdim=True), [normal(3, 4), normal(3, 4)], {"keepdim": True})


assert torch.__version__.split("+")[0] == TORCH, f"fixtures are made with torch {TORCH}, this is {torch.__version__}"
activations()
layers()
losses()
path = Path(__file__).with_suffix(".json")
path.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
print(f"{path.name}: {len(cases)} cases, {path.stat().st_size} bytes")

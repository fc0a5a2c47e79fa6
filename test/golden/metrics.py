"""Writes metrics.json: torchmetrics' values over several updates.

Needs torch, torchmetrics, pycocotools and nltk. A case: `{name, kind, options, inputs, values}`; `inputs[inputs]` of the
file are the arguments of each update, `values` the result after each. A tensor is `{shape, data, dtype}`.
"""
import json
from pathlib import Path

import torch
import torchmetrics as tm
from torchmetrics.detection import MeanAveragePrecision
from torchmetrics.text import BLEUScore, Perplexity
from torchmetrics.text.rouge import ROUGEScore

CASES = []
INPUTS = []
G = torch.Generator().manual_seed(0)


def camel(name):
    head, *rest = name.split("_")
    return head + "".join(w if w.isdigit() else w[:1].upper() + w[1:] for w in rest)


def encode(x):
    if isinstance(x, torch.Tensor):
        data = [float(f"{v:.9g}") if x.dtype == torch.float32 else v for v in x.flatten().tolist()]
        return {"shape": list(x.shape), "dtype": str(x.dtype).split(".")[1], "data": data}
    if isinstance(x, dict):
        return {camel(k): encode(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [encode(v) for v in x]
    return x


def result(value):
    if isinstance(value, torch.Tensor):
        return value.item() if value.ndim == 0 else value.tolist()
    return {camel(k): result(v) for k, v in value.items()}


def case(name, kind, options, metric, updates):
    values = []
    for args in updates:
        metric.update(*args)
        values.append(result(metric.compute()))
    encoded = encode(updates)
    if encoded not in INPUTS:
        INPUTS.append(encoded)
    CASES.append({"name": name, "kind": kind, "options": {camel(k): v for k, v in options.items() if v is not None},
                  "inputs": INPUTS.index(encoded), "values": values})


def rand(*shape):
    return (torch.rand(*shape, generator=G) * 1e4).round() / 1e4


def randint(high, *shape):
    return torch.randint(0, high, shape, generator=G)


def probabilities(n, c, *rest):
    p = (rand(n, c, *rest) + 0.01)
    return p / p.sum(1, keepdim=True)


N, C, L = 11, 4, 3
inputs = {
    "binary": {
        "probabilities": [(rand(N), randint(2, N)) for _ in range(3)],
        "logits": [(rand(N) * 6 - 3, randint(2, N)) for _ in range(3)],
        "labels": [(randint(2, N, 2), randint(2, N, 2)) for _ in range(3)],
    },
    "multiclass": {
        "scores": [(probabilities(N, C), randint(C, N)) for _ in range(3)],
        "logits of images": [(rand(2, C, 3) * 4 - 2, randint(C, 2, 3)) for _ in range(3)],
        "labels, a class missing": [(randint(C - 1, N), randint(C - 1, N)) for _ in range(3)],
    },
    "multilabel": {
        "probabilities": [(rand(N, L), randint(2, N, L)) for _ in range(3)],
        "logits of sequences": [(rand(2, L, 3) * 4 - 2, randint(2, 2, L, 3)) for _ in range(3)],
    },
}
sizes = {"binary": {}, "multiclass": {"num_classes": C}, "multilabel": {"num_labels": L}}
kinds = {"Accuracy": tm.Accuracy, "Precision": tm.Precision, "Recall": tm.Recall, "F1Score": tm.F1Score, "FBeta": tm.FBetaScore,
         "Specificity": tm.Specificity, "HammingDistance": tm.HammingDistance, "JaccardIndex": tm.JaccardIndex}

for kind, cls in kinds.items():
    for task, sets in inputs.items():
        for what, updates in sets.items():
            averages = [None] if task == "binary" else ["micro", "macro", "weighted", "none"]
            # All averages with one kind of input, the default with the others.
            for average in averages if what == next(iter(sets)) or "missing" in what else [None]:
                options = {"task": task, **sizes[task], "average": average, "beta": 2.0 if kind == "FBeta" else None}
                given = {k: v for k, v in options.items() if v is not None}
                case(f"{kind}, {task}, {what}, {average or 'default'}", kind, options, cls(**given), updates)
    for task in ("binary", "multiclass", "multilabel"):
        ignore = {"binary": -1, "multiclass": 1, "multilabel": -1}[task]
        updates = [(p, t.clone()) for p, t in next(iter(inputs[task].values()))]
        for _, t in updates:
            t.view(-1)[::4] = ignore
        options = {"task": task, **sizes[task], "ignore_index": ignore, "average": "macro", "beta": 0.5 if kind == "FBeta" else None}
        given = {k: v for k, v in options.items() if v is not None}
        case(f"{kind}, {task}, ignored targets", kind, options, cls(**given), updates)
for kind in ("Accuracy", "Precision", "Recall"):
    for average in ("micro", "macro", "none"):
        options = {"task": "multiclass", "num_classes": C, "top_k": 2, "average": average}
        case(f"{kind}, top 2, {average}", kind, options, kinds[kind](**options), inputs["multiclass"]["scores"])
options = {"task": "binary", "threshold": 0.8}
case("Accuracy, threshold", "Accuracy", options, tm.Accuracy(**options), inputs["binary"]["probabilities"])

for task, sets in inputs.items():
    updates = next(iter(sets.values()))
    for normalize in ("none", "true", "pred", "all"):
        options = {"task": task, **sizes[task], "normalize": normalize}
        case(f"ConfusionMatrix, {task}, {normalize}", "ConfusionMatrix", options, tm.ConfusionMatrix(**options), updates)
    options = {"task": task, **sizes[task]}
    case(f"MatthewsCorrCoef, {task}", "MatthewsCorrCoef", options, tm.MatthewsCorrCoef(**options), updates)
    if task != "multilabel":
        for weights in ("none", "linear", "quadratic"):
            options = {"task": task, **sizes[task], "weights": weights}
            case(f"CohenKappa, {task}, {weights}", "CohenKappa", options, tm.CohenKappa(**options), updates)
        for norm in ("l1", "l2", "max"):
            options = {"task": task, **sizes[task], "norm": norm, "n_bins": 7}
            case(f"CalibrationError, {task}, {norm}", "CalibrationError", options, tm.CalibrationError(**options), updates)
    for kind, cls in (("AUROC", tm.AUROC), ("AveragePrecision", tm.AveragePrecision)):
        averages = {"binary": [None], "multiclass": ["macro", "weighted", "none"], "multilabel": ["micro", "macro", "weighted", "none"]}
        for average in averages[task]:
            options = {"task": task, **sizes[task], "average": average}
            given = {k: v for k, v in options.items() if v is not None}
            case(f"{kind}, {task}, {average or 'default'}", kind, options, cls(**given), updates)
        if task == "multilabel":
            updates_ignored = [(p, t.clone()) for p, t in updates]
            for _, t in updates_ignored:
                t.view(-1)[::4] = -1
            options = {"task": task, **sizes[task], "ignore_index": -1}
            case(f"{kind}, multilabel, ignored targets", kind, options, cls(**options), updates_ignored)
case("MatthewsCorrCoef, only one class", "MatthewsCorrCoef", {"task": "binary"}, tm.MatthewsCorrCoef(task="binary"),
     [(torch.tensor([1, 1, 1]), torch.tensor([1, 0, 0]))])
options = {"task": "binary", "max_fpr": 0.4}
case("AUROC, part of the curve", "AUROC", options, tm.AUROC(**options), inputs["binary"]["probabilities"])
ties = [((rand(N) * 4).round() / 4, randint(2, N)) for _ in range(2)]
case("AUROC, ties", "AUROC", {"task": "binary"}, tm.AUROC(task="binary"), ties)
case("AveragePrecision, ties", "AveragePrecision", {"task": "binary"}, tm.AveragePrecision(task="binary"), ties)

pairs = [((rand(N) * 3).double(), (rand(N) * 3 + 1).double()) for _ in range(3)]
several = [((rand(N, 2) * 3).double(), (rand(N, 2) * 3 + 1).double()) for _ in range(3)]
far = [(a + 1e4, b + 1e4) for a, b in pairs]
tied = [((a * 2).round(), (b * 2).round()) for a, b in pairs]
case("MeanSquaredError", "MeanSquaredError", {}, tm.MeanSquaredError(), pairs)
case("MeanSquaredError, root", "MeanSquaredError", {"squared": False}, tm.MeanSquaredError(squared=False), pairs)
case("MeanSquaredError, outputs", "MeanSquaredError", {"num_outputs": 2}, tm.MeanSquaredError(num_outputs=2), several)
case("MeanAbsoluteError", "MeanAbsoluteError", {}, tm.MeanAbsoluteError(), pairs)
case("R2Score", "R2Score", {}, tm.R2Score(), pairs)
case("R2Score, adjusted", "R2Score", {"adjusted": 3}, tm.R2Score(adjusted=3), pairs)
for multioutput in ("uniform_average", "variance_weighted", "raw_values"):
    case(f"R2Score, {multioutput}", "R2Score", {"num_outputs": 2, "multioutput": multioutput}, tm.R2Score(multioutput=multioutput), several)
case("PearsonCorrCoef", "PearsonCorrCoef", {}, tm.PearsonCorrCoef(), pairs)
case("PearsonCorrCoef, far from 0", "PearsonCorrCoef", {}, tm.PearsonCorrCoef().set_dtype(torch.float64), far)
case("SpearmanCorrCoef", "SpearmanCorrCoef", {}, tm.SpearmanCorrCoef(), pairs)
case("SpearmanCorrCoef, ties", "SpearmanCorrCoef", {}, tm.SpearmanCorrCoef(), tied)

words = [(rand(2, 5, 6) * 8 - 4, randint(6, 2, 5)) for _ in range(3)]
case("Perplexity", "Perplexity", {}, Perplexity(), words)
case("Perplexity, ignored", "Perplexity", {"ignore_index": 2}, Perplexity(ignore_index=2), words)
texts = [
    (["the cat sat on the mat near the door", "a quick brown fox"],
     [["the cat sat on a mat near the door", "there is a cat on the mat"], ["the quick brown fox jumps over the dog"]]),
    (["it is a guide to action which ensures that the military obeys", "Nothing, here!"],
     [["it is a guide to action that ensures that the military will heed"], ["nothing here", "Here nothing."]]),
]
case("BLEU", "BLEU", {}, BLEUScore(), texts)
case("BLEU, smooth", "BLEU", {"n_gram": 3, "smooth": True}, BLEUScore(n_gram=3, smooth=True), texts)
case("BLEU, weights", "BLEU", {"n_gram": 2, "weights": [0.3, 0.7]}, BLEUScore(n_gram=2, weights=[0.3, 0.7]), texts)
for accumulate in ("best", "avg"):
    keys = ("rouge1", "rouge2", "rougeL")
    case(f"ROUGE, {accumulate}", "ROUGE", {"rouge_keys": keys, "accumulate": accumulate},
         ROUGEScore(rouge_keys=keys, accumulate=accumulate), texts)

values = [(torch.tensor([1.0, float("nan"), 3.0]), torch.tensor([1.0, 2.0, 0.5])), (torch.tensor([4.0, 5.0, 2.0]), torch.tensor([2.0, 1.0, 1.0]))]
values = [tuple(torch.nan_to_num(x, 7.0) for x in pair) for pair in values]
case("MeanMetric", "MeanMetric", {}, tm.MeanMetric(), [(v,) for v, _ in values])
case("MeanMetric, weights", "MeanMetric", {}, tm.MeanMetric(), values)
case("SumMetric", "SumMetric", {}, tm.SumMetric(), [(v,) for v, _ in values])


def boxes(n, largest):
    corner = rand(n, 2) * 200
    return torch.cat([corner, corner + rand(n, 2) * largest + 2], 1)


def scene(n, m, crowd=False):
    target = {"boxes": boxes(m, 120), "labels": randint(3, m)}
    near = target["boxes"][torch.arange(min(n, m))] + rand(min(n, m), 4) * 12 - 6
    near[:, 2:] = torch.maximum(near[:, 2:], near[:, :2] + 1)
    found = torch.cat([near, boxes(max(n - m, 0), 120)])
    labels = torch.cat([target["labels"][: min(n, m)], randint(3, max(n - m, 0))])
    if crowd:
        target["iscrowd"] = (torch.arange(m) % 3 == 0).long()
    return {"boxes": found, "scores": rand(n), "labels": labels}, target


def scenes(*specs):
    pairs = [scene(*spec) for spec in specs]
    return [p for p, _ in pairs], [t for _, t in pairs]


images = [scenes((5, 4), (3, 5)), scenes((9, 7), (12, 6, True), (2, 0)), scenes((0, 3), (6, 6, True))]
case("MeanAveragePrecision", "MeanAveragePrecision", {}, MeanAveragePrecision(), images)
case("MeanAveragePrecision, classes", "MeanAveragePrecision", {"class_metrics": True}, MeanAveragePrecision(class_metrics=True), images)
limits = [1, 3, 100]
case("MeanAveragePrecision, limits", "MeanAveragePrecision", {"max_detection_thresholds": limits, "box_format": "xywh"},
     MeanAveragePrecision(max_detection_thresholds=limits, box_format="xywh"), images)

# Curves at given thresholds, on grids that scores may meet.
for task, sets in inputs.items():
    averages = {"binary": [None], "multiclass": ["macro", "weighted", "none"], "multilabel": ["micro", "macro", "weighted", "none"]}
    for what, updates in sets.items():
        if "labels" in what:
            continue
        ignored = [(p, t.clone()) for p, t in updates]
        for _, t in ignored:
            t.view(-1)[::4] = -1
        for kind, cls in (("AUROC", tm.AUROC), ("AveragePrecision", tm.AveragePrecision)):
            for thresholds in (5, 20, [0.0, 0.1, 0.35, 0.5, 0.9], [0.3, 0.6]):
                for average in averages[task] if thresholds == 20 else averages[task][:1]:
                    options = {"task": task, **sizes[task], "average": average, "thresholds": thresholds}
                    given = {k: v for k, v in options.items() if v is not None}
                    case(f"{kind}, {task}, {what}, {average or 'default'}, thresholds {thresholds}", kind, options, cls(**given), updates)
            options = {"task": task, **sizes[task], "ignore_index": -1, "thresholds": 7}
            case(f"{kind}, {task}, {what}, ignored targets, thresholds", kind, options, cls(**options), ignored)
for name, thresholds in (("AUROC", 9), ("AveragePrecision", 5)):
    options = {"task": "binary", "thresholds": thresholds}
    case(f"{name}, ties, thresholds", name, options, getattr(tm, name)(**options), ties)
options = {"task": "binary", "max_fpr": 0.4, "thresholds": 12}
case("AUROC, part of the curve, thresholds", "AUROC", options, tm.AUROC(**options), inputs["binary"]["probabilities"])

# A value for each sample; two updates, since the order of samples is that of the updates.
samples = {
    "binary": [(rand(4, 5), randint(2, 4, 5)) for _ in range(2)],
    "multiclass": [(rand(3, C, 6) * 4 - 2, randint(C, 3, 6)) for _ in range(2)],
    "multilabel": [(rand(3, L, 5), randint(2, 3, L, 5)) for _ in range(2)],
}
for kind, cls in kinds.items():
    if kind == "JaccardIndex":
        continue
    for task, updates in samples.items():
        for average in [None] if task == "binary" else ["micro", "macro", "weighted", "none"]:
            options = {"task": task, **sizes[task], "average": average, "multidim_average": "samplewise", "beta": 2.0 if kind == "FBeta" else None}
            given = {k: v for k, v in options.items() if v is not None}
            case(f"{kind}, {task}, samplewise, {average or 'default'}", kind, options, cls(**given), updates)
        ignore = 1 if task == "multiclass" else -1
        ignored = [(p, t.clone()) for p, t in updates]
        for _, t in ignored:
            t.view(-1)[::4] = ignore
        options = {"task": task, **sizes[task], "average": "macro", "multidim_average": "samplewise", "ignore_index": ignore,
                   "beta": 0.5 if kind == "FBeta" else None}
        given = {k: v for k, v in options.items() if v is not None}
        case(f"{kind}, {task}, samplewise, ignored targets", kind, options, cls(**given), ignored)
labels = [(randint(C, 3, 6), randint(C, 3, 6)) for _ in range(2)]
options = {"task": "multiclass", "num_classes": C, "multidim_average": "samplewise"}
case("Accuracy, samplewise, labels", "Accuracy", options, tm.Accuracy(**options), labels)

Path(__file__).with_name("metrics.json").write_text(json.dumps({"inputs": INPUTS, "cases": CASES}, separators=(",", ":")) + "\n")
print(len(CASES), "cases")

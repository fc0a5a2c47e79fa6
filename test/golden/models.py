"""Makes the fixtures of `models/`: what torchvision's ResNets compute, in thin configurations, and their state-dict keys.

    python test/golden/models.py

Needs torch 2.11.0, torchvision 0.26.0 and safetensors. The result is committed.

`models/NAME.safetensors` has, for the configuration in its metadata (`golden`, JSON: torch's version, the block's class, the stages' layers, and
options in the words of `ts/models`):

    weights.*          the state dict, float32
    x, y               uint8 images of which `(x - 128) / 64` is fed in, and int64 labels
    eval               logits in evaluation, before the step
    logits, loss       of a forward pass in training, and then
    grad.*             gradients of some parameters
    grad_norms         L2 norms of the gradients of all parameters, in order
    after.*            running statistics after that pass
    curve64, curve32   losses of 30 steps of SGD on the two halves of the batch in turn, from the same weights

All but `curve32` is computed in float64. `models/keys.json` has the names and shapes of full-size state dicts, printed models, and the
sizes of thin versions of further models.
"""
import json
import re
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

TORCH, TORCHVISION = "2.11.0", "0.26.0"
LIMIT = 1_500_000
FOLDER = Path(__file__).with_suffix("")


class Thin(ResNet):
    """torchvision's ResNet with `width` instead of 64 channels in its stem and first stage, and timm's stem for CIFAR."""

    def __init__(self, block, layers, width, stem="imagenet", **options):
        self.width = width
        super().__init__(block, layers, **options)
        small = stem == "cifar"
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False) if small else nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        if small:
            self.maxpool = nn.Identity()
        self.fc = nn.Linear(8 * width * block.expansion, options.get("num_classes", 1000))

    def _make_layer(self, block, planes, *args, **options):
        if planes == 64:
            self.inplanes = self.width
        return super()._make_layer(block, planes * self.width // 64, *args, **options)


# In deep thin networks one ReLU that changes sides by rounding can change a loss further on by a hundredth. These seeds' curves change by
# less than 5e-4 when all weights change by 1e-7 of themselves, so that float32 can be held against them.
CONFIGS = {
    "basic-imagenet": dict(seed=5, block="BasicBlock", layers=[2, 1, 1, 1], stem="imagenet", width=4, size=33),
    "basic-cifar": dict(seed=9, block="BasicBlock", layers=[1, 2, 1, 1], stem="cifar", width=4, size=16),
    "bottleneck-imagenet": dict(seed=2, block="Bottleneck", layers=[2, 1, 1, 1], stem="imagenet", width=4, size=33),
    "bottleneck-cifar": dict(seed=33, block="Bottleneck", layers=[1, 1, 1, 1], stem="cifar", width=4, size=16, groups=2, widthPerGroup=32),
}
CLASSES, IMAGES, STEPS = 5, 12, 30
SGD = dict(lr=0.01, momentum=0.9, weight_decay=1e-3)


def build(config):
    blocks = {"BasicBlock": BasicBlock, "Bottleneck": Bottleneck}
    groups = dict(groups=config.get("groups", 1), width_per_group=config.get("widthPerGroup", 64))
    return Thin(blocks[config["block"]], config["layers"], config["width"], config["stem"], num_classes=CLASSES, **groups)


def scramble(model):
    """Norms and running statistics that aren't those of a new model."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            module.num_batches_tracked.fill_(7)


def curve(config, weights, x, y, dtype):
    model = build(config).to(dtype)
    model.load_state_dict(weights)
    optimizer = torch.optim.SGD(model.parameters(), **SGD)
    losses = []
    for step in range(STEPS):
        half = slice(0, IMAGES // 2) if step % 2 == 0 else slice(IMAGES // 2, IMAGES)
        loss = F.cross_entropy(model(x[half].to(dtype)), y[half])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def fixture(name, config):
    torch.manual_seed(config["seed"])
    model = build(config)
    scramble(model)
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    images = torch.randint(0, 256, (IMAGES, 3, config["size"], config["size"]), dtype=torch.uint8)
    y = torch.randint(0, CLASSES, (IMAGES,))
    x = (images.double() - 128) / 64

    model.double()
    tensors = {f"weights.{k}": v for k, v in weights.items()} | {"x": images, "y": y}
    with torch.no_grad():
        tensors["eval"] = model.eval()(x)
    logits = model.train()(x)
    loss = F.cross_entropy(logits, y)
    loss.backward()
    tensors |= {"logits": logits.detach(), "loss": loss.detach()}
    grads = {k: p.grad for k, p in model.named_parameters()}
    tensors["grad_norms"] = torch.stack([g.norm() for g in grads.values()])
    chosen = ("conv1.", "bn1.", "layer1.0.", "layer2.0.downsample.", "layer4.0.bn2.", "fc.")
    tensors |= {f"grad.{k}": g for k, g in grads.items() if k.startswith(chosen)}
    tensors |= {f"after.{k}": v for k, v in model.state_dict().items() if k.endswith(("running_mean", "running_var", "tracked"))}
    for bits, dtype in ((64, torch.float64), (32, torch.float32)):
        tensors[f"curve{bits}"] = curve(config, weights, x, y, dtype)

    drift = (tensors["curve64"] - tensors["curve32"]).abs().max().item()
    path = FOLDER / f"{name}.safetensors"
    assert drift < 5e-4, f"{name}: float32 leaves the curve"
    options = {k: v for k, v in config.items() if k not in ("seed", "size", "block", "layers")} | {"numClasses": CLASSES}
    # One entry: the order of several isn't fixed.
    golden = {"torch": TORCH, "block": config["block"], "layers": config["layers"], "options": options}
    save_file(tensors, path, metadata={"golden": json.dumps(golden)})
    path.chmod(0o644)
    print(f"{path.name}: {path.stat().st_size} bytes, loss {loss.item():.3f}, curve to {tensors['curve64'][-1].item():.3f}, float32 is off by {drift:.1e}")


def keys():
    make = torchvision.models.get_model
    full = {n: {k: list(v.shape) for k, v in make(n).state_dict().items()} for n in ("resnet18", "resnet34", "resnet50")}
    printed = {n: str(make(n)) for n in ("resnet18", "resnet50")}
    deep = {
        "resnet101": dict(layers=[3, 4, 23, 3]), "resnet152": dict(layers=[3, 8, 36, 3]),
        "resnext50_32x4d": dict(layers=[3, 4, 6, 3], groups=32, width_per_group=4), "wide_resnet50_2": dict(layers=[3, 4, 6, 3], width_per_group=128),
    }
    thin = {}
    for name, options in deep.items():
        model = Thin(Bottleneck, width=16, **options)
        assert list(model.state_dict()) == list(make(name).state_dict())
        thin[name] = {"keys": len(model.state_dict()), "parameters": sum(p.numel() for p in model.parameters())}
    text = json.dumps({"full": full, "printed": printed, "thin": thin}, indent=1)
    path = FOLDER / "keys.json"
    # Shapes on one line each.
    path.write_text(re.sub(r"\[\s+([\d,\s]+?)\s+\]", lambda m: "[" + " ".join(m[1].split()) + "]", text) + "\n")


def main():
    found = (torch.__version__.split("+")[0], torchvision.__version__.split("+")[0])
    assert found == (TORCH, TORCHVISION), f"fixtures are made with torch {TORCH} and torchvision {TORCHVISION}, these are {found}"
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    for name, config in CONFIGS.items():
        fixture(name, config)
    keys()
    total = sum(p.stat().st_size for p in FOLDER.iterdir())
    assert total < LIMIT, f"{total} bytes of fixtures"
    print(f"{total} bytes in all")


if __name__ == "__main__":
    main()

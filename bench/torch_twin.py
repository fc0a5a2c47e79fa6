"""PyTorch's side of `npm run bench`: the jobs of bench/settings.ts with the same model, batch, optimizer and data in memory.

Usage: torch_twin.py JOB DEVICE MODE THREADS MNIST_DIR. Speaks the protocol of bench/contestant.ts. A mode is

    eager    the loop as it is usually written
    compile  the same with torch.compile
    best     the whole step as one CUDA graph, which reads one batch in place, so that nothing is left to do on the host

On cuda TF32 is allowed, cuDNN chooses by measuring, and ResNets run in bfloat16 autocast with their tensors in channels-last order.
"""

import json
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

# Networks, as in bench/networks.ts.


def mlp():
    return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 49, 128),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Linear(128, 10),
    )


def cifar_resnet18():
    import torchvision

    model = torchvision.models.resnet18(num_classes=10)
    model.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    model.maxpool = nn.Identity()
    return model


def resnet50():
    import torchvision

    return torchvision.models.resnet50()


# Settings, as in bench/settings.ts.


def sgd(model, **options):
    return torch.optim.SGD(model.parameters(), **{"lr": 0.01, "momentum": 0.9, **options})


def adamw(model):
    fused = next(model.parameters()).is_cuda
    return torch.optim.AdamW(model.parameters(), lr=1e-3, fused=fused, capturable=fused)


def decaying_sgd(weight_decay):
    return lambda model: sgd(model, lr=0.1, weight_decay=weight_decay)


# job: (network, optimizer, shape of a batch, classes, batches of the ring)
STEP_JOBS = {
    "mlp32": (mlp, sgd, (32, 784), 10, 16),
    "mlp512": (mlp, sgd, (512, 784), 10, 16),
    "cnn64": (cnn, adamw, (64, 1, 28, 28), 10, 16),
    "resnet18": (cifar_resnet18, decaying_sgd(5e-4), (32, 3, 32, 32), 10, 2),
    "resnet18-128": (cifar_resnet18, decaying_sgd(5e-4), (128, 3, 32, 32), 10, 16),
    "resnet18-1024": (cifar_resnet18, decaying_sgd(5e-4), (1024, 3, 32, 32), 10, 16),
    "resnet50": (resnet50, decaying_sgd(1e-4), (128, 3, 224, 224), 1000, 2),
}

# Timing, as in bench/timing.ts.

ROUND_SECONDS = 0.4


def calibrate(run, ring):
    """Warms up `run(steps)`, which gives the seconds it took, and finds how many steps a round has: a multiple of `ring`."""

    def whole(steps):
        return -int(-steps // ring) * ring

    run(whole(4))
    steps = whole(4)
    while True:
        seconds = run(steps)
        wanted = whole(steps * ROUND_SECONDS / seconds)
        if seconds > ROUND_SECONDS / 2:
            return wanted
        steps = min(wanted, 8 * steps)


# Steps, as in bench/steps.ts.


def graphed(step, batch):
    """One step on `batch` as a CUDA graph: gives what replays it, and the loss that it writes."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(4):
            step(*batch)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step(*batch)
    return graph, loss


def step_round(job, device, mode):
    """Forward, backward and step over a ring of batches; the loss is read once, at the end."""
    network, make_optimizer, shape, classes, ring = STEP_JOBS[job]
    resnet = job.startswith("resnet")
    low = resnet and device == "cuda"
    layout = torch.channels_last if low else torch.contiguous_format
    model = network().to(device, memory_format=layout)
    optimizer = make_optimizer(model)
    batches = [
        (torch.rand(shape, device=device).contiguous(memory_format=layout), torch.randint(0, classes, shape[:1], device=device))
        for _ in range(ring)
    ]

    def loss_of(x, y):
        # A cached cast of a weight would be a graph's constant.
        with torch.autocast(device, torch.bfloat16, enabled=low, cache_enabled=mode != "best"):
            return F.cross_entropy(model(x), y)

    if mode == "compile":
        loss_of = torch.compile(loss_of) if resnet else torch.compile(loss_of, mode="reduce-overhead")

    def step(x, y):
        optimizer.zero_grad()
        loss = loss_of(x, y)
        loss.backward()
        optimizer.step()
        return loss

    replay, graph_loss = None, None
    if mode == "best":
        graph, graph_loss = graphed(step, batches[0])
        replay = graph.replay

    def run(steps):
        start = time.perf_counter()
        if replay:
            for _ in range(steps):
                replay()
            graph_loss.item()
        else:
            for i in range(steps):
                loss = step(*batches[i % ring])
            loss.item()
        return time.perf_counter() - start

    steps = calibrate(run, ring)

    def timed():
        seconds = run(steps)
        return {"stepMs": seconds / steps * 1e3, "perSecond": steps * shape[0] / seconds}

    return timed


# The MNIST jobs, as in bench/mnist.ts.


def read_mnist(folder):
    """The 60,000 training images as float32 in [0, 1] and their labels as int64."""
    raw = Path(folder, "train-images-idx3-ubyte").read_bytes()
    images = torch.frombuffer(bytearray(raw[16:]), dtype=torch.uint8).view(-1, 1, 28, 28).float().div(255)
    raw = Path(folder, "train-labels-idx1-ubyte").read_bytes()
    return images, torch.frombuffer(bytearray(raw[8:]), dtype=torch.uint8).long()


def mnist_parts(folder):
    """The training and the validation data, and what makes a model with its optimizer."""
    from torch.utils.data import TensorDataset, random_split

    images, labels = read_mnist(folder)
    train, validation, _ = random_split(TensorDataset(images, labels), [50_000, 5_000, 5_000])

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.main = mlp()

        def forward(self, x):
            return self.main(x.view(x.shape[0], -1))

    def ingredients():
        model = Classifier()
        return model, torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)

    return train, validation, ingredients


def epoch_figures(seconds, train):
    return {"stepMs": seconds / (len(train) / 32) * 1e3, "perSecond": len(train) / seconds}


def mnist_round(folder, device):
    """One epoch of the main job in pytorch-accelerated with its default callbacks; the clock runs over the training epoch."""
    from pytorch_accelerated import Trainer
    from pytorch_accelerated.callbacks import TrainerCallback
    from pytorch_accelerated.trainer import DEFAULT_CALLBACKS

    train, validation, ingredients = mnist_parts(folder)

    class Clock(TrainerCallback):
        seconds = 0.0

        def on_train_epoch_start(self, trainer, **kwargs):
            self.start = time.perf_counter()

        def on_train_epoch_end(self, trainer, **kwargs):
            if device == "cuda":
                torch.cuda.synchronize()
            self.seconds = time.perf_counter() - self.start

    def run():
        model, optimizer = ingredients()
        clock = Clock()
        trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer, callbacks=(*DEFAULT_CALLBACKS, clock))
        trainer.train(
            train_dataset=train,
            eval_dataset=validation,
            num_epochs=1,
            per_device_batch_size=32,
            train_dataloader_kwargs={"num_workers": 0},
            eval_dataloader_kwargs={"num_workers": 0},
        )
        return epoch_figures(clock.seconds, train)

    return run


def mnist_loop_round(folder, device):
    """The same epoch in a loop written by hand."""
    from torch.utils.data import DataLoader

    train, _, ingredients = mnist_parts(folder)

    def run():
        model, optimizer = ingredients()
        model.to(device)
        start = time.perf_counter()
        for x, y in DataLoader(train, batch_size=32, shuffle=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x.to(device)), y.to(device)).backward()
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()
        return epoch_figures(time.perf_counter() - start, train)

    return run


def say(message):
    print("\n@bench " + json.dumps(message), flush=True)


def peak(device):
    return {"peakBytes": torch.cuda.max_memory_allocated()} if device == "cuda" else {}


def main():
    job, device, mode, threads, folder = sys.argv[1:]
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    if device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    say({"version": f"torch {torch.__version__}"})
    run = None
    for line in sys.stdin:
        if line.strip() == "warm":
            rounds = {"mnist": mnist_round, "mnist-loop": mnist_loop_round}
            run = rounds[job](folder, device) if job in rounds else step_round(job, device, mode)
            say({})
        elif line.strip() == "run":
            say({**run(), **peak(device)})


main()

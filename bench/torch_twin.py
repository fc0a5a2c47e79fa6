"""PyTorch's side of `npm run bench`: the jobs of bench/jobs.ts with the same model, batch, optimizer and data in memory.

Usage: torch_twin.py JOB THREADS MNIST_DIR. Speaks the worker protocol of bench/worker.ts: prints a line `@bench {"ready": ...}` after the
warm-up; then each line `run` on stdin is answered by one timed round, `@bench {"stepMs": ..., "samplesPerSecond": ...}`.
"""

import json
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

BATCHES = 16


def say(message):
    print("@bench " + json.dumps(message), flush=True)


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


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)


def adamw(model):
    return torch.optim.AdamW(model.parameters(), lr=1e-3)


# job: (model, optimizer, shape of a batch, steps a round)
STEP_JOBS = {
    "mlp32": (mlp, sgd, (32, 784), 800),
    "mlp512": (mlp, sgd, (512, 784), 160),
    "cnn64": (cnn, adamw, (64, 1, 28, 28), 16),
}


def step_round(job):
    """Forward, backward and step over a ring of batches; the loss is read once, at the end."""
    make_model, make_optimizer, shape, steps = STEP_JOBS[job]
    model = make_model()
    optimizer = make_optimizer(model)
    batches = [(torch.rand(shape), torch.randint(0, 10, shape[:1])) for _ in range(BATCHES)]

    def run(count=steps):
        start = time.perf_counter()
        for i in range(count):
            x, y = batches[i % BATCHES]
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        loss.item()
        seconds = time.perf_counter() - start
        return {"stepMs": seconds / count * 1e3, "samplesPerSecond": count * shape[0] / seconds}

    run(BATCHES * -(-steps // BATCHES // 4))
    return run


def read_mnist(folder):
    """The 60,000 training images as float32 in [0, 1] and their labels as int64."""
    raw = Path(folder, "train-images-idx3-ubyte").read_bytes()
    images = torch.frombuffer(bytearray(raw[16:]), dtype=torch.uint8).view(-1, 1, 28, 28).float().div(255)
    raw = Path(folder, "train-labels-idx1-ubyte").read_bytes()
    return images, torch.frombuffer(bytearray(raw[8:]), dtype=torch.uint8).long()


def mnist_round(folder):
    """One epoch of the main job in pytorch-accelerated with its default callbacks; the clock runs over the training epoch."""
    from pytorch_accelerated import Trainer
    from pytorch_accelerated.callbacks import TrainerCallback
    from pytorch_accelerated.trainer import DEFAULT_CALLBACKS
    from torch.utils.data import TensorDataset, random_split

    images, labels = read_mnist(folder)
    train, validation, _ = random_split(TensorDataset(images, labels), [50_000, 5_000, 5_000])

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.main = mlp()

        def forward(self, x):
            return self.main(x.view(x.shape[0], -1))

    class Clock(TrainerCallback):
        seconds = 0.0

        def on_train_epoch_start(self, trainer, **kwargs):
            self.start = time.perf_counter()

        def on_train_epoch_end(self, trainer, **kwargs):
            self.seconds = time.perf_counter() - self.start

    def run():
        model = Classifier()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
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
        return {"stepMs": clock.seconds / (len(train) / 32) * 1e3, "samplesPerSecond": len(train) / clock.seconds}

    return run


def main():
    job, threads, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    run = mnist_round(folder) if job == "mnist" else step_round(job)
    say({"ready": f"torch {torch.__version__}"})
    for line in sys.stdin:
        if line.strip() == "run":
            say(run())


main()

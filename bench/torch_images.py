"""PyTorch's side of bench/images.ts, and the images that both sides load.

    torch_images.py make FOLDER COUNT     writes JPEGs of 500x375, quality 90, in four classes
    torch_images.py load FOLDER WORKERS   a contestant (contestant.ts): torchvision's ImageFolder through a DataLoader
"""
import json
import os
import sys
import time


def photo(rng, height=375, width=500):
    """Noise with a photograph's spectrum, and discs with edges: about as many bytes as a photograph has."""
    import numpy as np

    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    frequency[0, 0] = 1

    def field(power):
        made = np.fft.ifft2(np.fft.fft2(rng.standard_normal((height, width))) / frequency**power).real
        return (made - made.mean()) / made.std()

    light = field(1.1) * 45
    image = np.stack([light + field(1.6) * 25 + 120 for _ in range(3)], -1)
    y, x = np.mgrid[:height, :width]
    for _ in range(12):
        inside = (y - rng.integers(0, height)) ** 2 + (x - rng.integers(0, width)) ** 2 < rng.integers(15, 90) ** 2
        image[inside] = image[inside] * 0.6 + rng.uniform(0, 255, 3) * 0.4
    return np.clip(image, 0, 255).astype(np.uint8)


def make(folder, count):
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(count):
        os.makedirs(f"{folder}/class{i % 4}", exist_ok=True)
        Image.fromarray(photo(rng)).save(f"{folder}/class{i % 4}/{i:05}.jpg", quality=90)


def say(message):
    print(f"\n@bench {json.dumps(message)}", flush=True)


def load(folder, workers):
    import torch
    import torchvision
    from torchvision import transforms as T

    torch.set_num_threads(1)
    normalize = T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    transform = T.Compose([T.RandomResizedCrop(224), T.RandomHorizontalFlip(), T.ToTensor(), normalize])
    dataset = torchvision.datasets.ImageFolder(folder, transform)
    # The workers start with the warm-up and stay.
    loader = torch.utils.data.DataLoader(dataset, batch_size=64, shuffle=True, num_workers=workers, persistent_workers=True)
    say({"version": f"torchvision {torchvision.__version__}"})
    for line in sys.stdin:
        start = time.perf_counter()
        count = sum(len(labels) for _, labels in loader)
        seconds = time.perf_counter() - start
        say({} if line.strip() == "warm" else {"stepMs": seconds / len(loader) * 1000, "perSecond": count / seconds})


if __name__ == "__main__":
    command, folder, number = sys.argv[1:]
    {"make": make, "load": load}[command](folder, int(number))

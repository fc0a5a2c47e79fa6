"""Makes the golden fixtures `*.safetensors` beside this file: what PyTorch computes for every op of the engine.

    python test/golden/generate.py

Needs torch 2.11.0, numpy and safetensors. The result is committed; run it again only to add cases.
"""
from pathlib import Path

import torch

from families import conv, indexing, inplace, linalg, loss, optim, pointwise, reduce, views

TORCH = "2.11.0"
LIMIT = 1_000_000


def main():
    assert torch.__version__.split("+")[0] == TORCH, f"fixtures are made with torch {TORCH}, this is {torch.__version__}"
    torch.set_num_threads(1)
    folder, total = Path(__file__).parent, 0
    for family in (pointwise, reduce, views, indexing, linalg, conv, loss, inplace, optim):
        suite = family.suite()
        path = suite.write(folder)
        total += path.stat().st_size
        print(f"{path.name}: {len(suite.cases)} cases, {path.stat().st_size} bytes")
    assert total < LIMIT, f"{total} bytes of fixtures"


if __name__ == "__main__":
    main()

"""What a GPU can do at best, as JSON: FLOPs a second of large products and bytes a second, read and written, of a large copy."""

import json
import statistics

import torch


def seconds(operation):
    """The median of 30 runs."""
    for _ in range(10):
        operation()
    times = []
    for _ in range(30):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        operation()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return statistics.median(times)


def product(dtype, size=8192):
    a, b = (torch.randn(size, size, device="cuda", dtype=dtype) for _ in range(2))
    return 2 * size**3 / seconds(lambda: a @ b)


def copy(size=2**31):
    source, target = (torch.empty(size, dtype=torch.uint8, device="cuda") for _ in range(2))
    return 2 * size / seconds(lambda: target.copy_(source))


def main():
    torch.backends.cuda.matmul.allow_tf32 = True
    print(json.dumps({"bfloat16": product(torch.bfloat16), "tf32": product(torch.float32), "bytes": copy()}))


main()

"""What this machine can do at best, measured in the run: multiplications a second, and bytes moved a second."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

REPEATS = 7
SIZE = {"cuda": 8192, "cpu": 1536}  # of a square matrix product
COPIED = {"cuda": 2 << 30, "cpu": 256 << 20}  # bytes


@dataclass(frozen=True)
class Roof:
    """FLOP/s of a square product in the run's number format, bytes/s of a copy (bytes read + bytes written)."""

    flops_per_s: float
    bytes_per_s: float

    def seconds(self, flops: float, moved: float) -> float:
        """The least that so much work can take."""
        return max(flops / self.flops_per_s, moved / self.bytes_per_s)


def measure_roof(device: torch.device, dtype: torch.dtype) -> Roof:
    """The best of some repeats of each."""
    size, copied = SIZE[device.type], COPIED[device.type]
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    product = torch.empty_like(left)
    flops = 2 * size**3 / _best(lambda: torch.mm(left, right, out=product), device)
    source = torch.zeros(copied, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return Roof(flops, 2 * copied / _best(lambda: target.copy_(source), device))


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _best(work: Callable[[], object], device: torch.device) -> float:
    """Least seconds; on an accelerator of a row of ten, so that starting a kernel does not count."""
    times, row = [], 10 if device.type == "cuda" else 1
    for _ in range(REPEATS + 1):
        synchronise(device)
        begun = time.perf_counter()
        for _ in range(row):
            work()
        synchronise(device)
        times.append((time.perf_counter() - begun) / row)
    return min(times[1:])

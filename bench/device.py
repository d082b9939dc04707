"""The machine a figure belongs to, and how much memory a block of work took at its peak."""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from navigator.contracts.report import Device

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def describe_device(dtype: str | None = None, cuda: bool = False) -> Device:
    """CPU model, usable cores, torch's threads when torch is loaded, and the accelerator when `cuda` is in use."""
    torch = sys.modules.get("torch")
    return Device(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        torch_threads=None if torch is None else torch.get_num_threads(),
        accelerator=torch.cuda.get_device_name() if torch is not None and cuda else None,
        dtype=dtype,
    )


class Peak:
    """`mb` is set when the block ends: MiB above what was held before it, None where the machine cannot tell."""

    mb: float | None = None


@contextmanager
def peak_memory(accelerator: bool = False) -> Iterator[Peak]:
    """Peak memory of a block: of the CUDA allocator with `accelerator`, else resident memory of this process.

    On Linux the resident high-water mark is reset before the block (proc(5), clear_refs). Memory that an earlier block
    freed but the allocator kept is used again unseen, so on CPU the figure is a lower bound.
    """
    peak = Peak()
    if accelerator:
        torch = sys.modules["torch"]
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield peak
        peak.mb = (torch.cuda.max_memory_allocated() - before) / 2**20
        return
    held = _resident_kb("VmRSS") if _reset_high_water() else None
    yield peak
    high = _resident_kb("VmHWM")
    peak.mb = None if held is None or high is None else max(high - held, 0) / 1024


def _reset_high_water() -> bool:
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def _resident_kb(field: str) -> int | None:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(field + ":")), None)


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()

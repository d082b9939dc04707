"""How fast a run is: examples/s, tokens/s, and on a GPU the share of its peak that went into useful products (MFU).

MFU as PaLM counts it (arXiv 2204.02311, appendix B): products that the model needs, recomputed ones not counted, attention
scores left out. A weight that every token is multiplied by costs 2 FLOPs forward, 2 for the gradient of its input, and 2 for
its own gradient where it learns: 6 a learning weight and token, 4 a frozen one. Frozen ones count 4 and not 2 because what
feeds them (the tower) learns, so that gradients pass through all of them.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

# Dense bf16 FLOP/s by what torch.cuda.get_device_name says, from NVIDIA's data sheets (the figures with sparsity halved).
PEAKS: dict[str, float] = {
    r"NVIDIA B200": 2250e12,
    r"NVIDIA H200": 989e12,
    r"NVIDIA GH200 \w+": 989e12,
    r"NVIDIA H100 80GB HBM3": 989e12,
    r"NVIDIA H100 NVL": 835e12,
    r"NVIDIA H100 PCIe": 756e12,
    r"(NVIDIA )?A100[- ].*(40|80)GB.*": 312e12,
    r"NVIDIA L40S": 362e12,
    r"NVIDIA L4": 121e12,
    r"NVIDIA A10": 125e12,
    r"NVIDIA A10G": 70e12,
    r"NVIDIA GeForce RTX 4090": 165e12,
    r"NVIDIA GeForce RTX 3090": 71e12,
}


def peak_flops(device_name: str) -> float | None:
    """Peak bf16 FLOP/s of a device; None for one that is not in the table (a slice by MIG is not its whole)."""
    if " MIG " in device_name:
        return None
    return next((peak for name, peak in PEAKS.items() if re.fullmatch(name, device_name)), None)


def weights_per_token(through: nn.Module | None) -> dict[str, int]:
    """Weights of linear layers inside `through`, which every token passes: how many learn, and how many are frozen."""
    counts = {"learning": 0, "frozen": 0}
    for layer in through.modules() if through is not None else ():
        if isinstance(layer, nn.Linear):  # by shape: a 4-bit weight is packed
            learns = any(p.requires_grad for p in layer.parameters(recurse=False))
            counts["learning" if learns else "frozen"] += layer.in_features * layer.out_features
    return counts


@dataclass
class Throughput:
    """The meter of one run.

    Attributes:
        accelerator: tells device, processes and precision.
        weights: from `weights_per_token`, counted before anything is wrapped or sharded.
    """

    accelerator: Accelerator
    weights: dict[str, int]
    peak: float | None = field(init=False)

    def __post_init__(self):
        self.peak = peak_flops(self.device_name) if self.accelerator.mixed_precision == "bf16" else None

    @property
    def device_name(self) -> str:
        """As the vendor calls it; "cpu" for a CPU."""
        device = self.accelerator.device
        return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type

    def rates(self, examples: float, tokens: float | None, seconds: float) -> dict[str, float | None]:
        """Rates of all processes together. tokens_per_s where tokens are counted; on a GPU also mfu and peak_memory_gb.

        `tokens` are real ones, padding not counted. mfu is null where it is not known: an unlisted device, or not bf16.
        """
        if seconds <= 0:
            return {}
        found: dict[str, float | None] = {"examples_per_s": round(examples / seconds, 2)}
        if tokens is not None:
            found["tokens_per_s"] = round(tokens / seconds, 1)
        if self.accelerator.device.type == "cuda":
            if tokens is not None and self.flops_per_token:
                available = seconds * (self.peak or 0) * self.accelerator.num_processes
                found["mfu"] = round(tokens * self.flops_per_token / available, 4) if available else None
            found["peak_memory_gb"] = round(torch.cuda.max_memory_allocated(self.accelerator.device) / 1e9, 2)
        return found

    @property
    def flops_per_token(self) -> int:
        return 6 * self.weights["learning"] + 4 * self.weights["frozen"]

    def described(self) -> dict[str, Any]:
        """What the rates stand on."""
        found: dict[str, Any] = {"device": self.device_name, "processes": self.accelerator.num_processes}
        found["precision"] = self.accelerator.mixed_precision
        if self.flops_per_token:
            found["flops_per_token"] = self.flops_per_token
            found["flops_formula"] = (
                f"6 x {self.weights['learning']} learning + 4 x {self.weights['frozen']} frozen weights"
            )
        return found

"""Which processor trains, and in which precision."""

from __future__ import annotations

from typing import Literal

import torch

from unoise_engine.errors import Environment, Usage

Device = Literal["cpu", "cuda", "mps"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


def choose_device(wanted: str = "auto") -> Device:
    """auto takes CUDA, then Apple's MPS, then the CPU. Raises Environment for a device this machine lacks."""
    there: dict[Device, bool] = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    for name, available in there.items():
        if available and wanted in ("auto", name):
            return name
    if wanted in there:
        raise Environment(f"device {wanted}", "this machine or this torch has none", "use --device auto")
    raise Usage(f"device {wanted}", "unknown", f"use auto, {', '.join(there)}")


def check_number(devices: int, device: str = "auto") -> None:
    """Raises Usage for more GPUs than this machine has."""
    chosen = choose_device(device)
    there = {"cuda": torch.cuda.device_count(), "mps": 1}.get(chosen, devices)
    if devices > there:
        cure = f"give --devices {there}, or --device cpu"
        raise Usage(f"--devices {devices}", f"this machine has {there} of {chosen}", cure)


def choose_precision(wanted: str, device: Device) -> Precision:
    """auto: bf16 where the processor multiplies in it, 16 bit on older GPUs, else 32 bit.

    On a CPU without bf16 instructions autocast only adds conversions and is slower than 32 bit.
    """
    if wanted != "auto":
        return wanted  # type: ignore[return-value]
    if device == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    if device == "cpu" and cpu_has_bf16():
        return "bf16-mixed"
    return "32-true"


def cpu_has_bf16() -> bool:
    """AVX-512 BF16 or AMX. torch keeps the question under private names, so it is asked here alone."""
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in asked)

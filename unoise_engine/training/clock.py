"""Seconds of a call, measured when the device has really finished."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch


def synchronise(device: str) -> None:
    """Waits until the device has done all it was given; a CPU has."""
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


def seconds(call: Callable[[], object], device: str, repeats: int = 5, warm_up: int = 2) -> float:
    """The median of `repeats` calls, after some that are not counted."""
    for _ in range(warm_up):
        call()
    spent = []
    for _ in range(repeats):
        synchronise(device)
        started = time.perf_counter()
        call()
        synchronise(device)
        spent.append(time.perf_counter() - started)
    return statistics.median(spent)

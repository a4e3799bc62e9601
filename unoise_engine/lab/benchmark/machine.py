"""What the figures were measured on. No name of the machine, no user, no path."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from unoise_engine import __version__
from unoise_engine.child import usable_cores

PACKAGES = ("numpy", "onnxruntime", "SimpleITK", "onnx", "torch", "captum", "monai", "openvino")


def describe_machine(device: str, threads: int) -> dict[str, str]:
    """Title -> value."""
    told = {
        "processor": processor(),
        "cores": f"{usable_cores()} usable of {os.cpu_count()}",
        "threads": str(threads or usable_cores()),
        "memory": memory(),
        "device": gpu() if device == "cuda" else "cpu",
        "system": f"{platform.system()} {platform.release().split('-')[0]}, {platform.machine()}",
        "unoise_engine": __version__,
        "python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            told[package] = version(package)
        except PackageNotFoundError:
            told[package] = "not installed"
    if load := busy():
        told["load at the start"] = load
    return told


def processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    if sys.platform == "darwin":
        return _said("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()
    return platform.processor() or platform.machine()


def memory() -> str:
    try:
        return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"
    except (AttributeError, ValueError, OSError):
        return "unknown"


def busy() -> str:
    """How many processes wanted to run in the minute before; above the cores, the figures are another's too."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""


def gpu() -> str:
    return _said("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader") or "cuda"


def _said(*command: str) -> str:
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""
    return ran.stdout.strip().splitlines()[0] if ran.stdout.strip() else ""

"""Others' way of running a subject's nets, where torch is installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unoise_engine.errors import MissingExtra
from unoise_engine.lab.benchmark.subject import Subject

if TYPE_CHECKING:
    from unoise_engine.training.near import NearNet
    from unoise_engine.training.rivals import Eager
    from unoise_engine.training.unet import UNet

TRAINING = ("torch", "onnx", "onnxscript")
NO_TORCH = "torch eager, the plain export and the paper's models (extra train)"
IMPORTED = (
    "torch, the plain export, captum and MONAI, of a model from elsewhere: they run nets that this engine can build",
    "floors, growth and profiles of a model from elsewhere: they count in nets that this engine can build",
)
PLAIN, OPENVINO = "onnxruntime, plain export", "openvino, plain export"
NO_GRAD_CAM = "pytorch-grad-cam (it asks for torchvision)"


@dataclass(frozen=True)
class Rivals:
    """The nets in torch, and their plain exports in onnxruntime and, where it is installed, in OpenVINO, by who runs
    them. `peers` are libraries by name."""

    eager: Eager
    plain: Mapping[str, Callable[..., np.ndarray]]
    plain_noise: Mapping[str, Callable[..., np.ndarray]]
    peers: tuple[str, ...]


def can_train() -> bool:
    return all(find_spec(name) is not None for name in TRAINING)


def need_training() -> None:
    """Raises MissingExtra."""
    for name in TRAINING:
        if find_spec(name) is None:
            raise MissingExtra(name, "train")


def open_rivals(subject: Subject, scratch: Path, device: str, threads: int, peers: bool) -> Rivals:
    """Builds and exports the nets of the subject's bundle; the exports go to `scratch`. Raises Usage."""
    from unoise_engine.training.peers import installed, open_in_openvino
    from unoise_engine.training.rebuilt import rebuilt
    from unoise_engine.training.rivals import Eager, plain_export, use_threads

    use_threads(threads)
    bundle = subject.bundle
    utility, noise = rebuilt(bundle.folder, bundle.manifest)
    named = tuple(installed()) if peers else ()

    def plain(name: str, net: UNet | NearNet) -> dict[str, Callable[..., np.ndarray]]:
        path = scratch / f"plain-{name}.onnx"
        found = {PLAIN: plain_export(net, subject.slices, path, device, threads)}
        if "openvino" in named and bundle.device == "cpu":
            found[OPENVINO] = open_in_openvino(path, threads)
        return found

    exports = plain("utility", utility), plain("unoise", noise)  # first: exporting moves a net to the processor
    return Rivals(Eager(utility, noise, bundle.device), *exports, named)


def left_out(peers: bool, imported: bool = False) -> list[str]:
    """What could not run, and why."""
    if imported:
        return [*IMPORTED]
    missing = [] if can_train() else [NO_TORCH]
    if peers:
        missing += [f"{name} (extra bench)" for name in ("captum", "monai", "openvino") if find_spec(name) is None]
        missing.append(NO_GRAD_CAM)
    return missing

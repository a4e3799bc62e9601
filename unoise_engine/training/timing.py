"""The paper's Table 2: seconds an explanation of one slice takes, by each method, on one device."""

from __future__ import annotations

import platform
from collections.abc import Mapping

import numpy as np
import torch

from unoise_engine.explanation.method import silent
from unoise_engine.explanation.occlusion import Occlusion
from unoise_engine.training.clock import seconds
from unoise_engine.training.device import choose_device
from unoise_engine.training.fold import folded
from unoise_engine.training.gradcam_graph import gradcam_by_autograd
from unoise_engine.training.runs import UNoiseRun, UtilityRun
from unoise_engine.training.segments import Segments

PAPER = Occlusion(patch=15, stride=2)


def time_methods(
    utility: UtilityRun, noises: Mapping[str, UNoiseRun], x: np.ndarray, organ: np.ndarray, device: str = "auto"
) -> dict[str, float | str | int]:
    """Name -> seconds, for one normalised slice x (c, h, w) and the organ found in it (h, w) bool.

    Occlusion takes the paper's patch and stride, 8 patches a pass, and is timed once: it is long.
    """
    place = choose_device(device)
    net = folded(utility.net()).to(place)
    slices = torch.from_numpy(x[None]).to(place)
    target = torch.from_numpy(organ[None, None].astype(np.float32)).to(place)
    found: dict[str, float | str | int] = {"device": name_of(place), "size": f"{x.shape[1]} x {x.shape[2]}"}
    with torch.no_grad():
        found["Segmentation (utility)"] = seconds(lambda: net(slices), place)
        for name, run in noises.items():
            noise = folded(run.net(utility.recipe.ct.channels)).to(place)
            found[name] = seconds(lambda noise=noise: noise(slices), place)  # type: ignore[misc]
        with torch.enable_grad():
            found["Grad-CAM"] = seconds(lambda: gradcam_by_autograd(net, slices, target), place)
        shown = organ if organ.any() else np.ones_like(organ)
        model = Segments(net, utility.recipe.ct, place)
        once = seconds(lambda: PAPER.one_item(model, x, shown, silent), place, 1, 0)
        found["Occlusion"] = once
    return found


def name_of(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"

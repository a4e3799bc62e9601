"""Grad-CAM and occlusion by the libraries people use for them, captum and MONAI, and OpenVINO. Each is optional.

The first two were written for classifiers. A segmenter becomes one by answering with a score: the sum of the organ's
logits for Grad-CAM, and the dice with the unoccluded prediction for occlusion. All are put into eval mode, since MONAI
returns a net to the mode in which it found the outermost module.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from unoise_engine.training.rivals import Answer, Eager

PEERS = ("captum", "monai", "openvino")


def installed() -> list[str]:
    return [name for name in PEERS if find_spec(name) is not None]


class Scored(nn.Module):
    """Slices (n, c, h, w) -> (n, 1): the sum of the logits that `target` (1, 1, h, w) marks."""

    def __init__(self, net: nn.Module, target: Tensor):
        super().__init__()
        self.net, self.target = net, target

    def forward(self, x: Tensor) -> Tensor:
        return (self.net(x) * self.target).sum((1, 2, 3))[:, None]


class Overlapping(nn.Module):
    """Squares (n, c, k, k) at a fixed place of an image (c, h, w) -> (n, 1): 1 - dice of the whole slices' prediction
    with `organ` (h, w) bool. So a library slides over the square alone, and every pass is one of the whole net.

    `passes` counts them.
    """

    def __init__(self, eager: Eager, image: np.ndarray, organ: np.ndarray, corner: tuple[int, int]):
        super().__init__()
        self.net, self.image, self.organ = eager.utility, eager.tensor(image), eager.tensor(organ)
        self.corner, self.passes = corner, 0

    def forward(self, squares: Tensor) -> Tensor:
        self.passes += len(squares)
        (row, column), side = self.corner, squares.shape[-1]
        slices = self.image.repeat(len(squares), 1, 1, 1)
        slices[:, :, row : row + side, column : column + side] = squares
        found = self.net(slices)[:, 0] > 0
        shared = (found & self.organ).sum((1, 2))
        return (1 - 2 * shared / (found.sum((1, 2)) + self.organ.sum()))[:, None]


def open_in_openvino(path: Path, threads: int) -> Callable[..., np.ndarray]:
    """An ONNX file's first output, from its inputs by name, on the processor and in single precision, as all others."""
    import openvino

    told = {"INFERENCE_PRECISION_HINT": "f32"} | ({"INFERENCE_NUM_THREADS": threads} if threads else {})
    request = openvino.Core().compile_model(path, "CPU", told).create_infer_request()
    return lambda **feeds: np.array(request.infer(feeds)[0])


def captum_gradcam(eager: Eager, slices: np.ndarray, target: np.ndarray) -> Answer:
    """-> (1, 1, h / k, w / k)."""
    from captum.attr import LayerGradCam

    score, x = Scored(eager.utility, eager.tensor(target)).eval(), eager.tensor(slices)
    explain = LayerGradCam(score, eager.utility.downs[-1])
    return lambda: explain.attribute(x, target=0, relu_attributions=True).detach().cpu().numpy()


def monai_gradcam(eager: Eager, slices: np.ndarray, target: np.ndarray) -> Answer:
    """-> (1, 1, h / k, w / k). On a copy of the net, since MONAI leaves its hooks on it."""
    from monai.visualize import GradCAM

    net = copy.deepcopy(eager.utility)
    explain = GradCAM(Scored(net, eager.tensor(target)).eval(), target_layers=f"net.downs.{net.depth - 1}")
    x = eager.tensor(slices)
    return lambda: explain.compute_map(x, class_idx=0).detach().cpu().numpy()


def captum_occlusion(
    eager: Eager, image: np.ndarray, organ: np.ndarray, corner: tuple[int, int], side: int, patch: int, fill: float
) -> tuple[np.ndarray, int]:
    """1 - dice of patch beside patch in a square of `side` pixels, and how many passes it took."""
    from captum.attr import Occlusion

    score = Overlapping(eager, image, organ, corner).eval()
    square, window = _square(eager, image, corner, side), (len(image), patch, patch)
    with torch.inference_mode():
        found = Occlusion(score).attribute(square, window, strides=window, baselines=fill, target=0)
        passes, whole = score.passes, float(score(square))  # captum tells by how much the score falls
    return whole - found[0, 0, ::patch, ::patch].cpu().numpy(), passes


def monai_occlusion(
    eager: Eager, image: np.ndarray, organ: np.ndarray, corner: tuple[int, int], side: int, patch: int, fill: float
) -> tuple[np.ndarray, int]:
    """1 - dice of patch beside patch in a square of `side` pixels, and how many passes it took."""
    from monai.visualize import OcclusionSensitivity

    score = Overlapping(eager, image, organ, corner).eval()
    slide = OcclusionSensitivity(score, patch, n_batch=1, verbose=False, mode=float(fill), overlap=0.0, activate=False)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about how MONAI indexes
        found, _ = slide(_square(eager, image, corner, side))
    return torch.as_tensor(found).squeeze().cpu().numpy()[::patch, ::patch], score.passes


def _square(eager: Eager, image: np.ndarray, corner: tuple[int, int], side: int) -> Tensor:
    row, column = corner
    return eager.tensor(np.ascontiguousarray(image[None, :, row : row + side, column : column + side]))

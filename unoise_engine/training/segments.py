"""A net in torch as a segmenter: what it finds is found the same way as a bundle's."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from unoise_engine.models.recipe import Recipe
from unoise_engine.models.segmenter import OneLabel, Region, occluded_items


class Segments(OneLabel):
    """Predicts, and can be occluded by whole passes, as the paper does it. The net's first output is the label's."""

    answers: frozenset[str] = frozenset()

    def __init__(self, net: nn.Module, recipe: Recipe, device: str):
        self.net, self.recipe, self.device = net, recipe, device

    def predict(self, x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return self.net(torch.from_numpy(x).to(self.device))[:, :1].float().cpu().numpy()

    def occluded(
        self, image: np.ndarray, places: np.ndarray, patch: int, fill: float, region: Region | None = None
    ) -> np.ndarray:
        return self.predict(occluded_items(image, places, patch, fill))

    def noise_logits(self, x: np.ndarray, scores: np.ndarray | None = None) -> np.ndarray:
        raise NotImplementedError

    def gradcam(self, x: np.ndarray, target: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def gradient(self, x: np.ndarray, target: np.ndarray) -> np.ndarray:
        raise NotImplementedError

"""The models of a bundle, running in onnxruntime: numpy in, numpy out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unoise_engine.bundle.manifest import Manifest, model_hash, verify
from unoise_engine.errors import Environment, Integrity, Usage
from unoise_engine.shipped import shipped

if TYPE_CHECKING:
    import onnxruntime

DEFAULT_BUNDLE = "pancreas-phantom"
# Slices of 256 x 256 a call: memory stays bounded, and on a CPU larger batches gain nothing.
PIXELS_A_CALL = 8 * 256 * 256


def shipped_bundles() -> dict[str, Path]:
    """Name -> folder of the models that came with the engine."""
    return shipped("models", "*/bundle.json")


def find_bundle(name: str | Path) -> Path:
    """A shipped bundle's name, or a folder. Raises Environment if it is neither."""
    shipped = shipped_bundles()
    if str(name) in shipped:
        return shipped[str(name)]
    if Path(name).is_dir():
        return Path(name)
    known = ", ".join(shipped) or "none"
    raise Environment(f"{name} - no such model bundle - give a bundle folder, or one that ships: {known}")


def load_bundle(name: str | Path = DEFAULT_BUNDLE, device: str = "auto", threads: int = 0) -> Bundle:
    """Verifies every file's hash, then opens the bundle for `device` (auto, cpu, cuda).

    ``threads`` = 0 lets onnxruntime use every core. Raises Environment, Integrity or Usage.
    """
    folder = find_bundle(name)
    return Bundle(folder, verify(folder), providers(device), threads)


def providers(device: str) -> list[str]:
    """onnxruntime's execution providers for a device's name."""
    import onnxruntime

    available = onnxruntime.get_available_providers()
    if device not in ("auto", "cpu", "cuda"):
        raise Usage(f"--device {device} - unknown - choose auto, cpu or cuda")
    if device == "cpu" or (device == "auto" and "CUDAExecutionProvider" not in available):
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in available:
        raise Environment("--device cuda - this onnxruntime has no CUDA - install onnxruntime-gpu, or use --device cpu")
    return ["CUDAExecutionProvider", "CPUExecutionProvider"]


class Bundle:
    """An opened bundle. Sessions start when first used. Slices are (n, c, h, w) float32, normalised by the recipe."""

    def __init__(self, folder: Path, manifest: Manifest, providers: Sequence[str], threads: int = 0):
        self.folder = folder
        self.manifest = manifest
        self.recipe = manifest.recipe
        self._providers = list(providers)
        self._threads = threads

    @property
    def device(self) -> str:
        return "cuda" if self._providers[0].startswith("CUDA") else "cpu"

    @property
    def hash(self) -> str:
        return model_hash(self.manifest)

    def predict(self, slices: np.ndarray) -> np.ndarray:
        """(n, c, h, w) -> logits (n, 1, h, w); > 0 means organ."""
        return self._run(self._utility, {"slices": slices})

    def noise_logits(self, slices: np.ndarray) -> np.ndarray:
        """(n, c, h, w) -> z (n, 1, h, w); sigmoid(z) is the share of the largest noise a pixel can bear."""
        return self._run(self._unoise, {"slices": slices})

    def gradcam(self, slices: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Slices (n, c, h, w) and d score / d logits (n, 1, h, w) -> Grad-CAM (n, 1, h, w), >= 0."""
        return self._run(self._gradcam, {"slices": slices, "target": target.astype(np.float32)})

    def open_all(self) -> None:
        """Opens every model now. Raises Integrity if onnxruntime cannot."""
        _ = self._utility, self._unoise, self._gradcam

    @cached_property
    def _utility(self) -> onnxruntime.InferenceSession:
        return self._open("utility")

    @cached_property
    def _unoise(self) -> onnxruntime.InferenceSession:
        return self._open("unoise")

    @cached_property
    def _gradcam(self) -> onnxruntime.InferenceSession:
        return self._open("gradcam")

    def _open(self, model: str) -> onnxruntime.InferenceSession:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3  # errors only: warnings about the machine would mix with our own lines
        path = self.folder / f"{model}.onnx"
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self.manifest.files[path.name].sha256:
            raise Integrity(f"{path} - was altered since it was checked - get the bundle again")
        try:
            # From memory: the very bytes that were hashed, and a model in memory cannot refer to other files.
            return onnxruntime.InferenceSession(content, options, providers=self._providers)
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise Integrity(f"{path} - onnxruntime cannot open it ({reason}) - get the bundle again") from error

    @staticmethod
    def _run(session: onnxruntime.InferenceSession, feeds: dict[str, np.ndarray]) -> np.ndarray:
        n, _, h, w = feeds["slices"].shape
        step = max(1, PIXELS_A_CALL // (h * w))
        parts = [session.run(None, {k: v[i : i + step] for k, v in feeds.items()})[0] for i in range(0, n, step)]
        return np.concatenate(parts) if parts else np.zeros((0, 1, h, w), np.float32)

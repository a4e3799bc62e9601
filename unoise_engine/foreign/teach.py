"""U-Noise for somebody else's model: taught on CTs and the model's own predictions, no labels needed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from unoise_engine.child import usable_cores
from unoise_engine.errors import Integrity, Usage
from unoise_engine.files import write
from unoise_engine.foreign.learn import SIGMAS, Learnt, Teaching, learn
from unoise_engine.foreign.together import Place, Tell, in_place, side_by_side
from unoise_engine.models.bundles import opened
from unoise_engine.models.manifest import UNOISE_NEAR, Manifest, write_bundle
from unoise_engine.models.segmenter import GRADIENT
from unoise_engine.models.session import providers
from unoise_engine.models.trial import try_out
from unoise_engine.models.windowed import Windowed


@dataclass(frozen=True)
class Work:
    """What each of several processes does, with a session of its own on a device of its own."""

    folder: Path
    manifest: Manifest
    paths: tuple[Path, ...]
    how: Teaching
    device: str
    devices: int

    def __call__(self, place: Place, tell: Tell) -> Learnt:
        threads = max(1, usable_cores() // self.devices)
        bundle = opened(self.folder, self.manifest, providers(self.device, place.local), threads, strict=True)
        assert isinstance(bundle, Windowed)  # noqa: S101 - for the type checker
        device = f"cuda:{place.local}" if self.device == "cuda" else self.device
        return learn(bundle, self.paths, self.how, device, tell, place)


def usable(device: str) -> str:
    """The same, but the processor for auto where torch cannot use the GPU that onnxruntime may find."""
    return "cpu" if device == "auto" and not torch.cuda.is_available() else device


def teach(
    bundle: Windowed,
    paths: Sequence[Path],
    out: Path,
    how: Teaching | None = None,
    device: str = "cpu",
    tell: Tell = lambda step, steps, loss: None,
    devices: int = 1,
    place: Place | None = None,
) -> Manifest | None:
    """Writes `out`, the same bundle with a noise model for its chosen label, and returns its manifest.

    `tell` hears of steps done, of how many, and the objective. The manifest's metrics hold the objective on patches of
    CTs that were held out (of the same ones, if there is only one), beside that of the distance map it started from.
    `devices`: processes on this machine that teach together, each on a GPU or a share of the cores; they are started
    here, unless this is one of them already and has its `place`. Only the first one writes; the others get None.
    Raises Usage if no CT shows the label or the model cannot be asked for gradients, Environment if `out` exists,
    EngineError if a process is lost.
    """
    how = how or Teaching()
    if GRADIENT not in bundle.answers or any(bundle.recipe.window.margin):
        what = "cannot be taught on: its graph cannot be reversed, or its answers are smaller than its windows"
        raise Usage(str(bundle.folder), what, "explain it by occlusion")
    work = Work(bundle.folder, bundle.manifest, tuple(paths), how, device, devices)
    if place is not None:
        learnt = in_place(work, place, device, tell)
        if place.rank:
            return None
    elif devices > 1:
        learnt = side_by_side(work, devices, device, tell)
    else:
        learnt = learn(bundle, paths, how, device, tell)
    return _write(bundle, learnt, out, how)


def _write(bundle: Windowed, learnt: Learnt, out: Path, how: Teaching) -> Manifest:
    low, high = (round(learnt.spread * sigma, 6) for sigma in SIGMAS)
    noise = {"sigma_min": low, "sigma_max": high, "noise_reward": how.noise_reward}
    manifest = replace(
        bundle.manifest,
        architecture={**bundle.manifest.architecture, "noise": noise, UNOISE_NEAR: {"for": bundle.manifest.organ}},
        metrics={**bundle.manifest.metrics, "unoise": learnt.told},
        chosen=(),
    )
    with tempfile.TemporaryDirectory() as home:
        path = Path(home, f"{UNOISE_NEAR}.onnx")
        write(path, learnt.graph)
        files = {name: bundle.folder / name for name in bundle.manifest.files} | {path.name: path}
        draft = Path(home, "bundle")
        write_bundle(draft, manifest, files)
        try:
            try_out(draft)
        except Integrity as error:
            raise Integrity(out, error.what, "teach it again") from None
        return write_bundle(out, manifest, {name: draft / name for name in files})

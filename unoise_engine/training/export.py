"""From two runs to a bundle: ONNX for explaining, safetensors for training on, and a check before anything is kept.

export_bundle(Path("runs/utility"), Path("runs/unoise"), Path("models/mine"), card=Path("card.toml"))
"""

from __future__ import annotations

import csv
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate

from unoise_engine import __version__
from unoise_engine.bundle.manifest import Manifest, write_bundle
from unoise_engine.bundle.session import Bundle, load_bundle
from unoise_engine.errors import Environment, Integrity, Usage
from unoise_engine.training.budgets import CoarseUNet
from unoise_engine.training.card import Card, read_card
from unoise_engine.training.checkpoints import METRICS
from unoise_engine.training.fold import folded
from unoise_engine.training.gradcam_graph import GradCAMGraph, gradcam_by_autograd
from unoise_engine.training.runs import UNoiseRun, UtilityRun
from unoise_engine.training.unet import UNet

OPSET = 18
LOGITS_TOLERANCE = 1e-4  # of the largest logit; float32 sums in another order give about 1e-6
MAP_TOLERANCE = 1e-3  # of the map's peak; a ReLU's gate that rounds the other way shifts a mean a little
TRIES = 20  # inputs tried until the reference map is not zero: two wrong maps agree on zeros
SHAPES = ((1, 4, 6), (3, 9, 8))  # checked: slices, and height and width in units of the deepest pixel


def export_bundle(
    utility_run: Path,
    unoise_run: Path,
    out: Path,
    *,
    card: Card | Path,
    metrics: dict[str, Any] | Path | None = None,
    weights: bool = True,
) -> Path:
    """Writes the bundle `out` and returns it. `card` and `metrics` may be files, TOML and JSON.

    Without `weights` the bundle has no safetensors: half the size, and nothing to train on from.

    Raises Usage for a card that is not one, Environment if `out` exists or a run is unfinished; Integrity, leaving
    nothing behind, if the noise model explains another utility or onnxruntime disagrees with torch.
    """
    if out.exists():
        raise Environment(f"{out} - exists already - choose another name or remove it")
    card = read_card(card) if isinstance(card, Path) else card
    measured = read_metrics(metrics) if isinstance(metrics, Path) else metrics or {}
    utility, unoise = UtilityRun.open(utility_run), UNoiseRun.open(unoise_run)
    unoise.check_explains(utility)
    nets = {"utility": utility.net(), "unoise": unoise.net(utility.recipe.ct.channels)}
    noise = unoise.recipe.noise
    constants = {"sigma_min": noise.sigma_min, "sigma_max": noise.sigma_max, "noise_reward": noise.noise_reward}
    manifest = Manifest(
        name=card.name or out.name,
        title=card.title,
        synthetic=card.synthetic,
        intended_use=card.intended_use,
        licence=card.licence,
        training_data=card.training_data,
        recipe=utility.recipe.ct,
        labels={utility.recipe.data.organ: 1},
        clean_up=card.clean_up,
        scope=card.scope,
        attribution=card.attribution,
        citation=card.citation,
        metrics=best_value(utility_run, "val_dice", max) | best_value(unoise_run, "val_loss", min) | measured,
        architecture={key: describe(net) for key, net in nets.items()} | {"noise": constants},
        engine_version=__version__,
    )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
            files = write_models(nets, Path(scratch), weights)
            write_bundle(Path(scratch) / "bundle", manifest, files)
            check_agreement(load_bundle(Path(scratch) / "bundle", device="cpu"), nets["utility"], nets["unoise"])
            os.replace(Path(scratch) / "bundle", out)
    except OSError as e:
        raise Environment(f"{out} - cannot be written ({e.strerror}) - choose another place") from None
    return out


def write_models(nets: dict[str, UNet], folder: Path, weights: bool) -> dict[str, Path]:
    """The files of a bundle, by name. Batch norm is folded in the ONNX files and kept in the weights."""
    kinds = ("onnx", "safetensors") if weights else ("onnx",)
    files = {f"{name}.{kind}": folder / f"{name}.{kind}" for name in nets for kind in kinds}
    files["gradcam.onnx"] = folder / "gradcam.onnx"
    if weights:
        for name, net in nets.items():
            save_file({k: v.contiguous() for k, v in net.state_dict().items()}, files[f"{name}.safetensors"])
    write_onnx(folded(nets["utility"]), files["utility.onnx"], ["slices"], "logits")
    write_onnx(folded(nets["unoise"]), files["unoise.onnx"], ["slices"], "noise_logits")
    write_onnx(GradCAMGraph(folded(nets["utility"])), files["gradcam.onnx"], ["slices", "target"], "importance")
    return files


def write_onnx(model: nn.Module, path: Path, inputs: list[str], output: str) -> None:
    """One file with its weights inside; the number of slices, the height and the width are free."""
    unet = model.unet if isinstance(model, GradCAMGraph) else model
    step = finest(unet)  # type: ignore[arg-type]
    channels = {"slices": int(unet.in_channels), "target": 1}  # type: ignore[arg-type]
    examples = tuple(torch.zeros(2, channels[name], 4 * step, 6 * step) for name in inputs)
    free = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    with quiet():
        program = torch.onnx.export(
            model,
            examples,
            input_names=inputs,
            output_names=[output],
            dynamic_shapes=tuple(free for _ in inputs),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # noqa: S101 - for the type checker
    onnx.save(plain(program.model_proto), path)


def plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """Names the free axes n, h, w and drops what the exporter notes about its machine: file paths and stack traces."""
    graph = model.graph
    for part in [model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer]:
        del part.metadata_props[:]
        part.doc_string = ""
    del graph.value_info[:]
    for port in [*graph.input, *graph.output]:
        for axis, letter in ((0, "n"), (2, "h"), (3, "w")):
            port.type.tensor_type.shape.dim[axis].dim_param = letter
    return model


def check_agreement(bundle: Bundle, utility: UNet, unoise: UNet) -> None:
    """onnxruntime against torch, the Grad-CAM graph against autograd. Raises Integrity."""
    step = max(finest(utility), finest(unoise))
    for n, rows, columns in SHAPES:
        slices, target, wanted = telling_input(utility, (n, utility.in_channels, rows * step, columns * step))
        with torch.no_grad():
            logits, noise_logits = utility(slices), unoise(slices)
        x = slices.numpy()
        compare("utility.onnx", bundle.predict(x), logits, LOGITS_TOLERANCE)
        compare("unoise.onnx", bundle.noise_logits(x), noise_logits, LOGITS_TOLERANCE)
        compare("gradcam.onnx", bundle.gradcam(x, target.numpy()), wanted, MAP_TOLERANCE)


def telling_input(utility: UNet, shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Cloudy slices, a target and the reference map, which is not zero. Raises Integrity after `TRIES` failures.

    The target is the predicted organ where there is any, else every pixel.
    """
    n, channels, h, w = shape
    for seed in range(TRIES):
        chance = torch.Generator().manual_seed(seed)
        clouds = interpolate(torch.randn(n, 1, 8, 8, generator=chance), size=(h, w), mode="bicubic")
        slices = (clouds + 0.2 * torch.randn(n, 1, h, w, generator=chance)).expand(n, channels, h, w).contiguous()
        with torch.no_grad():
            organ = utility(slices) > 0
        target = torch.where(organ.any(), organ, True).float().expand(n, 1, h, w).contiguous()
        reference = gradcam_by_autograd(utility, slices, target)
        if reference.abs().max() > 0:
            return slices, target, reference
    raise Integrity(f"Grad-CAM is zero on {TRIES} inputs, so its export cannot be checked - train the utility longer")


def finest(net: UNet) -> int:
    """Heights and widths that the net takes are multiples of this; both that divide it are powers of two."""
    return max(2 ** (int(net.depth) - 1), int(getattr(net, "cell", 1)))


def compare(name: str, got: np.ndarray, wanted: Tensor, tolerance: float) -> None:
    scale = float(wanted.abs().max())
    apart = float(np.abs(got - wanted.numpy()).max()) / max(scale, 1e-12) if got.shape == wanted.shape else np.inf
    if not apart <= tolerance:
        raise Integrity(
            f"{name} - differs from the trained model by {apart:.1e} of its largest value (at most {tolerance:.0e} is "
            "allowed) - nothing was exported; report this with your versions of torch, onnx and onnxruntime"
        )


def describe(net: UNet) -> dict[str, int]:
    told = {"depth": net.depth, "first_channels": net.first_channels, "parameters": net.n_parameters}
    return told | ({"cell": net.cell} if isinstance(net, CoarseUNet) else {})


def best_value(run: Path, column: str, choose: Callable[[Iterator[float]], float]) -> dict[str, float]:
    """The best value of a column of metrics.csv, or nothing where the table is missing."""
    try:
        with (run / METRICS).open(newline="", encoding="utf-8") as f:
            return {column: round(choose(float(row[column]) for row in csv.DictReader(f)), 4)}
    except (OSError, ValueError, KeyError):
        return {}


def read_metrics(path: Path) -> dict[str, Any]:
    try:
        measured = json.loads(path.read_text("utf-8"))
        if not isinstance(measured, dict):
            raise ValueError("not an object")
        return measured
    except (OSError, ValueError) as e:
        raise Usage(f"{path} - cannot be read as metrics ({e}) - give a JSON object of names and figures") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Hides the exporter's notes about packages it does not need here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)

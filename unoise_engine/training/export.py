"""From two runs to a bundle: ONNX for explaining, safetensors for training on, and a check before anything is kept.

export_bundle(Path("runs/utility"), Path("runs/unoise"), Path("models/mine"), card=Path("card.toml"))
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from os.path import lexists
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import interpolate

from unoise_engine import __version__
from unoise_engine.errors import Environment, Integrity, Usage
from unoise_engine.files import exists, new_folder, refuse_overlap
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.input import Input
from unoise_engine.models.manifest import UNOISE, UNOISE_NEAR, Manifest, write_manifest
from unoise_engine.models.recipe import Recipe
from unoise_engine.models.scope import Scope
from unoise_engine.models.segmenter import occluded_items
from unoise_engine.models.session import Bundle
from unoise_engine.training import leaks
from unoise_engine.training.budgets import CoarseUNet
from unoise_engine.training.card import Card, read_card
from unoise_engine.training.checkpoints import METRICS
from unoise_engine.training.fold import FLOAT16, rounded
from unoise_engine.training.gradcam_graph import explained_model, gradcam_by_autograd
from unoise_engine.training.known import scope_of
from unoise_engine.training.near import NearNet
from unoise_engine.training.near_graph import near_model
from unoise_engine.training.occlusion_graph import clean_model, patched_model
from unoise_engine.training.progress import say
from unoise_engine.training.runs import UNoiseRun, UtilityRun
from unoise_engine.training.unet import UNet
from unoise_engine.training.unet_graph import unet_model
from unoise_engine.volume.volume import Volume

LOGITS_TOLERANCE = 1e-4  # of the largest logit; float32 sums in another order give about 1e-6
MAP_TOLERANCE = 1e-3  # of the map's peak; a ReLU's gate that rounds the other way shifts a mean a little
TRIES = 20  # inputs tried until the reference map is not zero: two wrong maps agree on zeros
LEAST_DICE = 0.1  # below that a model segments nothing
SHAPES = ((1, 4, 6), (3, 9, 8))  # checked: slices, and height and width in units of the deepest pixel


def export_bundle(
    utility_run: Path,
    unoise_runs: Path | Sequence[Path],
    out: Path,
    *,
    card: Card | Path,
    metrics: dict[str, Any] | Path | None = None,
    weights: bool = True,
    precision: str = FLOAT16,
    probe: Volume | None = None,
) -> Path:
    """Writes the bundle `out` and returns it. `card` and `metrics` may be files, TOML and JSON.

    `unoise_runs` are one run or two: of algorithm 1, and of a net that is told what was found (recipe key `near`). The
    first gives the manifest its noise.

    Where the card gives no scope, it is what the utility's own training CTs span (known.py).

    Without `weights` the bundle has no safetensors: half the size, and nothing to train on from. `precision` is what
    the ONNX files store kernels in: float16, or int8, which is half as large. `probe` is a CT in HU on which the
    manifest says what that changes; without one it does not say.

    Raises Usage for a card that is not one, Environment if `out` exists or a run is unfinished; Integrity, leaving
    nothing behind, if the noise model explains another utility or onnxruntime disagrees with torch.
    """
    if lexists(out):
        raise exists(out)
    folders = [unoise_runs] if isinstance(unoise_runs, Path) else [*unoise_runs]
    refuse_overlap(out, [utility_run, *folders])
    card = read_card(card) if isinstance(card, Path) else card
    measured = read_metrics(metrics) if isinstance(metrics, Path) else metrics or {}
    utility, net = (run := UtilityRun.open(utility_run)), run.net()
    noise_runs = _by_name(folders)
    for one in noise_runs.values():
        one.check_explains(utility)
    noise_nets = {name: one.net(utility.recipe.ct.channels) for name, one in noise_runs.items()}
    if (dice := best_value(utility_run, "val_dice", max).get("val_dice", 1.0)) < LEAST_DICE:
        say(f"{utility_run} - finds nearly nothing (validation dice {dice:g}), so no map explains it - train it longer")
    say(f"rounding the weights to {precision}, and measuring what that changes")
    try:
        stored, stored_noise = rounded(net, precision), {n: rounded(one, precision) for n, one in noise_nets.items()}
    except ValueError as e:
        raise Integrity(
            ", ".join(map(str, (utility_run, *folders))), f"cannot be stored in half precision ({e})", "train again"
        ) from None
    rounding = {precision: cost_of_rounding(net, stored, utility.recipe.ct, probe)} if probe else {}
    noise = next(iter(noise_runs.values())).recipe.noise
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
        scope=Scope(**{**scope_of(leaks.read(utility.folder).values()), **card.scope}),
        attribution=card.attribution,
        citation=card.citation,
        metrics=best_value(utility_run, "val_dice", max)
        | best_value(folders[0], "val_loss", min)
        | rounding
        | measured,
        architecture={**{n: describe(one) for n, one in {"utility": net, **noise_nets}.items()}, "noise": constants},
        engine_version=__version__,
    )
    try:
        with new_folder(out, inventory=False) as scratch:
            say("writing ONNX files")
            files = write_models(stored, stored_noise, scratch)
            if weights:
                files |= write_weights({"utility": net, **noise_nets}, scratch)
            write_manifest(scratch, manifest, files)
            say("comparing onnxruntime with PyTorch")
            apart = check_agreement(load_bundle(scratch, device="cpu"), stored, stored_noise)
            say(f"they agree: apart by at most {apart:.0e} of the largest value")
    except OSError as e:
        raise Environment(out, f"cannot be written ({e.strerror})", "choose another place") from None
    return out


def _by_name(folders: Sequence[Path]) -> dict[str, UNoiseRun]:
    """The runs by the names that their nets have in a bundle. Raises Usage for two of a kind."""
    runs: dict[str, UNoiseRun] = {}
    for folder in folders:
        run = UNoiseRun.open(folder)
        name = UNOISE_NEAR if run.recipe.noise.near else UNOISE
        if name in runs:
            kind = "is told what was found" if run.recipe.noise.near else "sees the CT alone"
            raise Usage(folder, f"holds a second net that {kind}", "give one run of each kind")
        runs[name] = run
    if not runs:
        raise Usage("export", "no U-Noise run is named", "give one or two")
    return runs


def write_models(utility: UNet, noise: Mapping[str, UNet | NearNet], folder: Path) -> dict[str, Path]:
    """ONNX files of folded, rounded nets, by their names in a bundle."""
    models = {
        "utility": explained_model(utility),
        "occlusion": patched_model(utility),
        "occlusion-clean": clean_model(utility),
    }
    for name, one in noise.items():
        models[name] = near_model(one, "noise_logits") if isinstance(one, NearNet) else unet_model(one, "noise_logits")
    files = {f"{name}.onnx": folder / f"{name}.onnx" for name in models}
    for model, path in zip(models.values(), files.values()):
        write_onnx(model, path)
    return files


def write_onnx(model: onnx.ModelProto, path: Path) -> None:
    """One file with its weights inside."""
    onnx.save(model, path)


def write_weights(trained: Mapping[str, UNet | NearNet], folder: Path) -> dict[str, Path]:
    """The nets as trained, for going on with them."""
    files = {f"{name}.safetensors": folder / f"{name}.safetensors" for name in trained}
    for net, path in zip(trained.values(), files.values()):
        save_file({k: v.contiguous() for k, v in net.state_dict().items()}, path)
    return files


def check_agreement(bundle: Bundle, utility: UNet, noise: Mapping[str, UNet | NearNet]) -> float:
    """onnxruntime against torch with the same rounded weights, Grad-CAM against autograd. Returns the largest
    difference, as a share of the largest value. Raises Integrity."""
    apart = []
    step = max(map(finest, (utility, *noise.values())))
    for n, rows, columns in SHAPES:
        slices, target, wanted = telling_input(utility, (n, utility.in_channels, rows * step, columns * step))
        with torch.no_grad():
            logits = utility(slices)
        x = slices.numpy()
        apart.append(compare("utility.onnx", bundle.predict(x), logits, LOGITS_TOLERANCE))
        for name, net in noise.items():
            near = isinstance(net, NearNet)
            with torch.no_grad():
                z = net(slices, logits) if near else net(slices)
            # In a near net the logarithm of nearly nothing weighs rounding more.
            tolerance = MAP_TOLERANCE if near else LOGITS_TOLERANCE
            got = bundle.noise_logits(x, logits.numpy() if near else None)
            apart.append(compare(f"{name}.onnx", got, z, tolerance))
        apart.append(compare("utility.onnx: Grad-CAM", bundle.gradcam(x, target.numpy()), wanted, MAP_TOLERANCE))
        apart.append(check_occlusion(bundle, utility, slices))
        own = gradcam_by_autograd(utility, slices, (torch.from_numpy(bundle.predict(x)) > 0).float(), coarse=True)
        apart.append(compare("utility.onnx: Grad-CAM", bundle.predict_and_explain(x)[1], own, MAP_TOLERANCE))
    return max(apart)


def check_occlusion(bundle: Bundle, utility: UNet, slices: Tensor) -> float:
    """Patches in the middle and in a corner, and one that touches an edge, against full passes of torch."""
    _, _, h, w = slices.shape
    side = min(15, h // 2, w // 2)
    places, image = np.array([[h // 3, w // 2], [0, w - side], [h - side, 3]]), slices[0].numpy()
    with torch.no_grad():
        wanted = utility(torch.from_numpy(occluded_items(image, places, side, 0.5)))
    got = bundle.occluded(image, places, side, 0.5)
    return compare("occlusion.onnx", got, wanted, LOGITS_TOLERANCE)


def cost_of_rounding(trained: UNet, stored: UNet, recipe: Recipe, ct: Volume) -> dict[str, float]:
    """What rounding changes on a CT that no net was trained on.

    `dice`: between both predictions, left out where the trained net finds nothing; `logits`: the largest change of a
    logit, as a share of the largest logit.
    """
    slices = torch.from_numpy(recipe.normalise(Input.of(ct, recipe).windowed()))
    with torch.no_grad():
        before, after = (torch.cat([net(some) for some in slices.split(4)]) for net in (trained, stored))
    both, size = ((before > 0) & (after > 0)).sum(), (before > 0).sum() + (after > 0).sum()
    apart = float((after - before).abs().max() / before.abs().max().clamp(min=1e-12))
    return {"logits": round(apart, 6)} | ({"dice": round(float(2 * both / size), 6)} if size else {})


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
    raise Integrity("Grad-CAM", f"is zero on {TRIES} inputs: its export cannot be checked", "train the utility longer")


def finest(net: UNet | NearNet) -> int:
    """Heights and widths that the net takes are multiples of this; both that divide it are powers of two."""
    return max(2 ** (int(net.depth) - 1), int(getattr(net, "cell", 1)))


def compare(name: str, got: np.ndarray, wanted: Tensor, tolerance: float) -> float:
    scale = float(wanted.abs().max())
    apart = float(np.abs(got - wanted.numpy()).max()) / max(scale, 1e-12) if got.shape == wanted.shape else np.inf
    if not apart <= tolerance:
        raise Integrity(
            name,
            f"differs from the trained model by {apart:.1e} of its largest value (at most {tolerance:.0e} is allowed)",
            "nothing was exported; report this with your versions of torch, onnx and onnxruntime",
        )
    return apart


def describe(net: UNet | NearNet) -> dict[str, int | bool]:
    told: dict[str, int | bool] = {
        "depth": net.depth,
        "first_channels": net.first_channels,
        "parameters": net.n_parameters,
    }
    if isinstance(net, CoarseUNet | NearNet):
        told |= {"cell": net.cell, "near": isinstance(net, NearNet)}
    return told


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
        raise Usage(path, f"cannot be read as metrics ({e})", "give a JSON object of names and figures") from None

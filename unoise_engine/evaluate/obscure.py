"""A CT of which only what the model needs is left: for publishing a case without publishing the patient.

In every axial slice the most important voxels stay as they are. All others are replaced by noise around the model's
grey, and say nothing of the CT: noise that was only added could be subtracted again by whoever knows the seed. Of a
model from elsewhere, whose grey nobody knows, it is noise around the mean of what stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os.path import lexists
from pathlib import Path
from typing import Any

import numpy as np

from unoise_engine.errors import Usage
from unoise_engine.evaluate.overlap import dice
from unoise_engine.explanation.hiding import largest_noise
from unoise_engine.explanation.methods import METHODS, answerable, usual
from unoise_engine.explanation.ranking import count, ranks
from unoise_engine.explanation.segment import segment
from unoise_engine.files import exists, write_json
from unoise_engine.models.given import Given, given_of, modality_of
from unoise_engine.models.prepared import Prepared
from unoise_engine.models.recipe import Recipe
from unoise_engine.models.session import Bundle
from unoise_engine.volume.find import Case
from unoise_engine.volume.volume import Volume
from unoise_engine.volume.write import write_volume

NAME = "obscured"
HU = (-1024.0, 3071.0)  # what a CT holds


@dataclass(frozen=True)
class Obscured:
    """`visible` is the share of voxels left, by the importance that the method `by` found; `kept` the dice between what
    the model finds before and after, on the CT's grid."""

    ct: Volume
    visible: float
    kept: float
    by: str


@dataclass(frozen=True)
class Noise:
    """What takes the place of voxels, in the image's values: normal, and kept between `low` and `high`."""

    grey: float
    sigma: float
    low: float
    high: float

    @staticmethod
    def of(bundle: Bundle, given: Given, left: np.ndarray) -> Noise:
        """`left` are the values that stay; nothing else of the image is used, so noise tells nothing of the rest."""
        sigma = largest_noise(bundle.manifest)
        if isinstance(bundle.recipe, Recipe):
            low, high = bundle.recipe.window_hu
            return Noise(low + bundle.recipe.mean[0] * (high - low), sigma * bundle.recipe.per_unit, *HU)
        ends = HU if modality_of(bundle.recipe) == "CT" else (float(left.min()), float(left.max()))
        per_unit = given.per_unit if isinstance(given, Prepared) and "noise" in bundle.manifest.architecture else 0.0
        return Noise(float(left.mean()), sigma * per_unit if per_unit else float(left.std()), *ends)


def obscure(ct: Volume, bundle: Bundle, visible: float, seed: int, advance: Callable[[float], None]) -> Obscured:
    """The same CT, model, share and seed give the same voxels, whatever the machine's number of cores.

    By the model's U-Noise; of a model without one by the first of the usual methods that it can answer, or occlusion.
    Ties in importance are broken by chance. Raises `Usage` for a share that leaves all or nothing.
    """
    if not 0 < visible < 1:
        raise Usage(f"--visible {visible:g}", "must lie between 0 and 1", "give 0.3 to keep 30 % of every slice")
    if seed < 0:
        raise Usage(f"--seed {seed}", "is negative", "use 0 or more")
    method = METHODS[next(iter((*usual(answerable(bundle)), "occlusion")))]
    given = given_of(ct, bundle.recipe)
    before = segment(bundle, given, bundle.manifest.clean_up)
    maps = np.zeros(given.shape, np.float32)
    for some in given.steps():
        maps[some] = given.as_planes(method(bundle, given.items(some), before.target(some), advance))
    chances = [np.random.default_rng([seed, k]) for k in range(len(given.view.apply(ct.voxels)))]
    keep = np.zeros(ct.voxels.shape, bool)
    kept = given.view.apply(keep)  # a view: filling it fills the volume
    for k, values in enumerate(given.restore(maps).slices()):
        unseen = (values == 0) if isinstance(given, Prepared) else False  # cut off before the model saw it
        values = np.where(unseen, min(float(maps.min()), 0.0), values)
        importance: np.ndarray = np.round(values, 3)  # sums in another order must not swap two voxels
        placed = ranks(importance, chances[k].random(importance.shape, np.float32))
        kept[k] = placed < count(visible, placed.size)
    noise = Noise.of(bundle, given, ct.voxels[keep])
    is_ct = modality_of(bundle.recipe) == "CT"
    result = ct.with_voxels(np.zeros(ct.voxels.shape, np.int16 if is_ct else np.float32))
    out, axial = given.view.apply(result.voxels), given.view.apply(ct.voxels)
    for k, chance in enumerate(chances):
        hidden = chance.normal(noise.grey, noise.sigma, kept[k].shape)
        if is_ct:
            hidden, shown = np.round(hidden), np.clip(np.round(axial[k]), -32768, 32767)
        else:
            shown = axial[k]
        out[k] = np.where(kept[k], shown, np.clip(hidden, noise.low, noise.high))
    after = segment(bundle, given_of(result, bundle.recipe), bundle.manifest.clean_up)
    found = [one.mask(1).voxels > 0 for one in (before, after)]
    return Obscured(result, float(keep.mean()), float(dice(*found)), method.name)


def obscure_case(
    case: Case, name: str, bundle: Bundle, visible: float, seed: int, out: Path, advance: Callable[[float], None]
) -> dict[str, Any]:
    """Writes OUT/<name>-obscured.nii.gz and what was done beside it as .json; returns the latter.

    Raises CaseRefused, Usage, Environment.
    """
    image, path = (out / f"{name}-{NAME}{suffix}" for suffix in (".nii.gz", ".json"))
    for there in (image, path):
        if lexists(there):
            raise exists(there)
    found = obscure(case.read().ct, bundle, visible, seed, advance)
    write_volume(found.ct, image)
    told = {
        "visible": round(found.visible, 6),
        "dice_kept": round(found.kept, 6),
        "method": found.by,
        "seed": seed,
        "model": bundle.manifest.name,
        "model_sha256": bundle.hash,
        "warning": bundle.manifest.warning,
    }
    write_json(path, told)
    return told

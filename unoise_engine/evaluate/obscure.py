"""A CT of which only what the model needs is left: for publishing a case without publishing the patient.

In every axial slice the most important voxels stay as they are. All others are replaced by noise around the model's
grey, and say nothing of the CT: noise that was only added could be subtracted again by whoever knows the seed.
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
from unoise_engine.explanation.methods import learnt
from unoise_engine.explanation.ranking import count, ranks
from unoise_engine.explanation.segment import segment
from unoise_engine.files import exists, write_json
from unoise_engine.models.given import own
from unoise_engine.models.input import Input
from unoise_engine.models.session import Bundle
from unoise_engine.volume.find import Case
from unoise_engine.volume.volume import Volume
from unoise_engine.volume.write import write_volume

NAME = "obscured"


@dataclass(frozen=True)
class Obscured:
    """`visible` is the share of voxels left; `kept` the dice between what the model finds before and after."""

    ct: Volume
    visible: float
    kept: float


def obscure(ct: Volume, bundle: Bundle, visible: float, seed: int, advance: Callable[[float], None]) -> Obscured:
    """The same CT, model, share and seed give the same voxels, whatever the machine's number of cores.

    Ties in importance are broken by chance. Raises `Usage` for a share that leaves all or nothing.
    """
    if not 0 < visible < 1:
        raise Usage(f"--visible {visible:g}", "must lie between 0 and 1", "give 0.3 to keep 30 % of every slice")
    if seed < 0:
        raise Usage(f"--seed {seed}", "is negative", "use 0 or more")
    method = learnt(bundle)
    recipe = own(bundle.recipe)
    given = Input.of(ct, recipe)
    low, high = recipe.window_hu
    grey = low + recipe.mean[0] * (high - low)
    sigma = largest_noise(bundle.manifest) * recipe.std[0] * (high - low)
    before = segment(bundle, given, bundle.manifest.clean_up)
    maps = np.zeros(given.shape, np.float32)
    for some in given.steps():
        maps[some] = given.as_planes(method(bundle, given.items(some), before.target(some), advance))
    left = np.zeros(ct.voxels.shape, np.int16)
    axial, out = given.view.apply(ct.voxels), given.view.apply(left)  # views: filling one fills the volume
    shown = 0
    for k, values in enumerate(given.restore(maps).slices()):
        chance = np.random.default_rng([seed, k])
        importance: np.ndarray = np.round(values, 3)  # sums in another order must not swap two voxels
        placed = ranks(importance, chance.random(importance.shape, np.float32))
        keep = placed < count(visible, placed.size)
        noise = np.clip(np.round(chance.normal(grey, sigma, placed.shape)), -1024, 3071)
        out[k] = np.where(keep, np.clip(np.round(axial[k]), -32768, 32767), noise)
        shown += int(keep.sum())
    result = ct.with_voxels(left)
    after = segment(bundle, Input.of(result, recipe), bundle.manifest.clean_up)
    found = [np.stack([plane > 0 for plane in one.cleaned]) for one in (before, after)]
    return Obscured(result, shown / left.size, float(dice(*found)))


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
        "seed": seed,
        "model": bundle.manifest.name,
        "model_sha256": bundle.hash,
        "warning": bundle.manifest.warning,
    }
    write_json(path, told)
    return told

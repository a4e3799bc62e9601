"""What a model is given of a CT, whichever kind of recipe it has."""

from __future__ import annotations

import math
from typing import TypeAlias

from unoise_engine.errors import Usage
from unoise_engine.models.input import Input, Restored
from unoise_engine.models.preparation import Preparation
from unoise_engine.models.prepared import Prepared, RestoredWhole
from unoise_engine.models.recipe import Recipe
from unoise_engine.volume.volume import AxialView, Volume

Given: TypeAlias = Input | Prepared
OnGrid: TypeAlias = Restored | RestoredWhole


def given_of(ct: Volume, recipe: Recipe | Preparation, start: int = 0, stop: int | None = None) -> Given:
    """`start` and `stop` count axial slices from the feet. Raises Usage if they are not in the CT."""
    kind = Prepared if isinstance(recipe, Preparation) else Input
    found: Given = kind.of(ct, recipe, start, stop)  # type: ignore[arg-type]
    return found


def voxels_of(ct: Volume, recipe: Recipe | Preparation, start: int = 0, stop: int | None = None) -> int:
    """About how many voxels the model's planes have, told without making them."""
    if not isinstance(recipe, Preparation):
        return math.prod(Input.of(ct, recipe, start, stop).shape)
    total = len(AxialView.of(ct.grid).apply(ct.voxels))
    share = ((total if stop is None else stop) - start) / total
    mm = AxialView.towards(ct.grid, recipe.axes).spacing_mm
    return int(ct.voxels.size * share * math.prod(m / w for m, w in zip(mm, recipe.spacing_mm) if w)) + 1


def modality_of(recipe: Recipe | Preparation) -> str:
    """CT, or the kind of images that the model is for: their values are taken as they are."""
    return recipe.modality if isinstance(recipe, Preparation) else "CT"


def own(recipe: Recipe | Preparation) -> Recipe:
    """The recipe of a model that was trained here. Raises Usage for another's."""
    if isinstance(recipe, Preparation):
        what = "is a model from elsewhere, which this cannot work with yet"
        raise Usage("--bundle", what, "give one that was trained by this engine")
    return recipe


def foreign(recipe: Recipe | Preparation) -> Preparation:
    """The recipe of an imported model. Raises Usage for one that was trained here."""
    if not isinstance(recipe, Preparation):
        raise Usage("--bundle", "is a model that this engine trained", "give an imported one")
    return recipe

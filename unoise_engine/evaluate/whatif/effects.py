"""Every structure hidden in turn, and the strongest in pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.evaluate.whatif.fills import IN_HU, Region
from unoise_engine.evaluate.whatif.scene import Effect, Scene, Seen
from unoise_engine.evaluate.whatif.settings import HideSettings
from unoise_engine.volume.structures import Structure

PAIRED = 10  # structures that are also hidden in pairs: those whose loss alone costs most
COVERS = 0.5  # of the organ: a structure that covers so much is hardly another one


@dataclass(frozen=True, eq=False)
class WhatIf:
    """All effects, the strongest first; `pairs` likewise. `notes` says what stayed out or visible, a sentence each.
    `seen` are the slices to look at of the three strongest, `after` (z, y, x) uint8 what is found without the strongest
    where that was asked for."""

    ml: float
    effects: tuple[Effect, ...]
    pairs: tuple[Effect, ...]
    notes: tuple[str, ...]
    seen: tuple[tuple[Effect, Seen], ...]
    after: np.ndarray | None = None


def what_if(
    scene: Scene,
    structures: Sequence[Structure],
    how: HideSettings | None = None,
    advance: Callable[[float], None] = lambda amount: None,
    keep: bool = False,
) -> WhatIf:
    """Hides each structure, then, if asked for, each pair of the PAIRED whose loss costs most.

    `advance` hears of structures done. `keep`: `after` is wanted.

    Raises CaseRefused NO_STRUCTURE if there is nothing to hide, Usage, ModelFault.
    """
    how = how or HideSettings()
    modality = getattr(scene.bundle.recipe, "modality", "CT")
    if modality != "CT" and how.fill in IN_HU:
        raise Usage(f"--fill {how.fill}", f"is in HU, and the model is for {modality}", "choose mean or blur")
    organ, empty, within, notes = scene.bundle.manifest.organ, list[str](), list[str](), list[str]()
    regions: dict[str, Region] = {}
    rows: list[tuple[Effect, Seen | None]] = []
    after: np.ndarray | None = None
    for one in structures:
        region, covers = scene.region(one, how.organ)
        if region is None:
            (within if covers else empty).append(one.name)
        else:
            without = scene.without([region], how, keep)
            rows.append((without.effect(scene, (one.name,), region.voxels, covers), without.seen))
            after = without.mask if rows[-1] is min(rows, key=_strength) else after
            regions[one.name] = region
            if covers >= COVERS:
                what = "was hidden with it" if how.organ == "hide" else "stayed visible (--organ hide hides it too)"
                notes.append(f"{one.name} covers {covers:.0%} of the {organ} found, which {what}")
        advance(1)
    if within:
        notes.append(f"within the {organ} found, which stayed visible (--organ hide): {_some(within)}")
    if empty:
        notes.append(f"without a voxel in this CT: {_some(empty)}")
    if not rows:
        what = "; ".join(notes) or "no structure was given"
        raise CaseRefused("NO_STRUCTURE", "nothing to hide", what, "give a region that lies in the CT")
    rows.sort(key=_strength)
    effects = tuple(effect for effect, _ in rows)
    pairs = _pairs(scene, effects[:PAIRED], regions, how, advance) if how.pairs else []
    seen = tuple((effect, one) for effect, one in rows[:3] if one)
    return WhatIf(scene.ml, effects, tuple(pairs), tuple(notes), seen, after)


def _strength(row: tuple[Effect, Seen | None]) -> tuple[float, float]:
    """The strongest first."""
    return row[0].dice, -row[0].lost_ml


def _pairs(
    scene: Scene,
    effects: Sequence[Effect],
    regions: dict[str, Region],
    how: HideSettings,
    advance: Callable[[float], None],
) -> list[Effect]:
    made = []
    for a, b in combinations(effects, 2):
        both = [regions[a.name], regions[b.name]]
        without = scene.without(both, how)
        one = without.effect(scene, (a.name, b.name), sum(r.voxels for r in both), a.covers + b.covers)
        beyond = (1 - one.dice) - (1 - a.dice) - (1 - b.dice)
        made.append(replace(one, beyond=beyond))
        advance(1)
    return sorted(made, key=lambda one: one.dice)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")

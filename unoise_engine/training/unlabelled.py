"""CTs without labels, for targets = "predictions": where a slice shows organ is what the utility itself says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from torch import nn

from unoise_engine.errors import Usage
from unoise_engine.explanation.segment import segment
from unoise_engine.models.input import Input
from unoise_engine.training.cases import Case
from unoise_engine.training.content import Content
from unoise_engine.training.device import choose_device
from unoise_engine.training.recipes import Data
from unoise_engine.training.runs import UtilityRun
from unoise_engine.training.segments import Segments
from unoise_engine.training.split import Split, split_cases
from unoise_engine.volume.find import Case as FoundCase
from unoise_engine.volume.find import find_cases
from unoise_engine.volume.pairs import by_case, images_in, stem
from unoise_engine.volume.read import check_ct, read_image
from unoise_engine.volume.volume import Volume


@dataclass(frozen=True)
class CT:
    case: str
    read: Callable[[], Volume]


def find_cts(folders: Sequence[Path]) -> list[CT]:
    """CTs by case, in the order of the folders: those of pairs, in images*/, or whatever CT lies there, DICOM too.

    Of several folders, a case is called ``<folder>/<case>``, as in `sources`. Raises `Usage`.
    """
    found: list[CT] = []
    for folder in folders:
        if not folder.is_dir():
            raise Usage(folder, "no such folder", "give a folder of CTs")
        prefix = f"{folder.absolute().name}/" if len(folders) > 1 else ""
        found += [CT(prefix + one.case, one.read) for one in _in_folder(folder)]
    names = [one.case for one in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Usage(twice[0], "is in the data twice", "rename a folder or a file, cases are named after them")
    return found


def _in_folder(folder: Path) -> list[CT]:
    files = by_case((p for p in images_in([folder]) if stem(p).endswith("-ct")), "-ct")
    if not files:
        inner = sorted(p for p in folder.iterdir() if p.is_dir() and p.name.lower() in ("images", "imagestr"))
        files = by_case(images_in(inner), "_0000")
    if files:
        return [CT(case, partial(read_file, path)) for case, path in sorted(files.items())]
    return [CT(found.id, partial(_read_case, found)) for found in find_cases([folder])]


def read_file(path: Path) -> Volume:
    return check_ct(read_image(path), path)


def _read_case(found: FoundCase) -> Volume:
    return found.read().ct


def split_cts(cts: Sequence[CT], utility: Split, data: Data) -> Split:
    """Cases that the utility knows keep their part, so what tests it stays a test; others are drawn by its recipe.

    Raises `Usage` where too few are left to learn from or to validate on.
    """
    names = [one.case for one in cts]
    known = utility.only(names)
    new = sorted(set(names) - utility.cases)
    if not new:
        drawn = known
    else:
        alone = len(new) == 1 and bool(known.train and known.val)
        fresh = Split((new[0],), (), ()) if alone else split_cases(new, data)
        drawn = Split(*(tuple(sorted((*a, *b))) for a, b in zip(_parts(known), _parts(fresh))))
    if not drawn.train or not drawn.val:
        raise Usage("the CTs given", "leave none to learn from or none to validate on", "give more patients")
    return drawn


def _parts(split: Split) -> tuple[tuple[str, ...], ...]:
    return split.train, split.val, split.test


def load_unlabelled(
    cts: Sequence[CT],
    names: Sequence[str],
    utility: UtilityRun,
    net: nn.Module,
    device: str,
    tell: Callable[[str, int, int], None],
) -> list[Case]:
    """The named ones in order, `organ` being what the frozen utility finds on the clean slices.

    Raises `Usage` where it finds none in any of them, and CaseRefused.
    """
    found, place = {one.case: one for one in cts}, choose_device(device)
    model = Segments(net.to(place), utility.recipe.ct, place)
    cases = []
    for done, name in enumerate(names):
        tell(name, done, len(names))
        if name not in found:
            raise Usage(
                f"case {name}", "belongs to the run's split but not to the data", "give the folder it began with"
            )
        ct = found[name].read()
        given = Input.of(ct, utility.recipe.ct)
        stored = np.round(given.windowed() * 255).astype(np.uint8)
        organ = np.asarray(segment(model, given).scores) > 0
        cases.append(Case(name, stored, organ, content=Content.of(ct)))
    if not any(len(case.with_organ) for case in cases):
        raise Usage(f"{len(cases)} CTs", "the utility finds no organ in any of them", "give CTs that show it")
    return cases

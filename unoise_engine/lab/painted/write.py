"""A folder of painted cases: ``<map>_<k>-ct.nii.gz``, ``<map>_<k>-labels.nii.gz``, labels.json and painted.json."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from unoise_engine.errors import Environment, Usage
from unoise_engine.files import refuse_strangers, write_json
from unoise_engine.lab.painted.hounsfield import PHASES
from unoise_engine.lab.painted.names import FILE, Names, names_file, names_of
from unoise_engine.lab.painted.tissues import NUMBERS
from unoise_engine.volume.read import IMAGE_SUFFIXES, is_image

Progress = Callable[[int, int], None]  # (cases done, cases in all)
RECORD = "painted.json"
MOST = 1_000_000  # CTs a map


@dataclass(frozen=True)
class LabelMap:
    """`name` stands before the first "_" of its cases: the patient of a split."""

    path: Path
    name: str
    names: Names


@dataclass(frozen=True)
class Task:
    """Some cases of one map, which is read once for them; ``cases`` holds (number, seed)."""

    source: LabelMap
    cases: tuple[tuple[int, int], ...]
    folder: Path
    even_phases: bool
    phase: str
    bent: bool


def quiet(done: int, total: int) -> None:
    """Says nothing."""


def find_maps(folders: Sequence[Path], names: Sequence[str] = ()) -> list[LabelMap]:
    """The label maps of several folders; ``names`` holds one table for all or one for each.

    Raises Usage, and CaseRefused NO_NAMES.
    """
    if len(names) > 1 and len(names) != len(folders):
        raise Usage(
            "--names", f"{len(names)} tables for {len(folders)} folders", "give one for all, or one for each in order"
        )
    maps: list[LabelMap] = []
    for place, folder in enumerate(folders):
        if not folder.is_dir():
            raise Usage(folder, "is no folder", "give folders of label maps")
        wanted = names[place if len(names) > 1 else 0] if names else ""
        table = names_file(wanted) if wanted not in ("", "-") else folder / FILE if (folder / FILE).is_file() else None
        found = sorted(path for path in folder.iterdir() if is_image(path) and not path.name.startswith("."))
        if not found:
            raise Usage(folder, "holds no label map", f"give a folder of {', '.join(IMAGE_SUFFIXES)} files")
        maps += [LabelMap(path, _case_name(folder, path), names_of(path, _stem(path), table)) for path in found]
    seen: dict[str, Path] = {}
    for one in maps:
        if one.name in seen:
            raise Usage(one.path, f"would be named as {seen[one.name]} is ({one.name})", "rename one of them")
        seen[one.name] = one.path
    return maps


def write_painted(
    folder: Path,
    maps: Sequence[LabelMap],
    per_map: int = 6,
    seed: int = 0,
    jobs: int = 1,
    progress: Progress = quiet,
    even_phases: bool = False,
    first: int = 0,
    phase: str = "",
    bent: bool = False,
) -> list[Path]:
    """Paint `per_map` cases of every map and return their CT files in order; the files do not depend on `jobs`.

    `even_phases` makes every contrast phase equally likely; else more than half is portal venous; `phase` paints one
    alone. The cases of a map are numbered from `first`, so that more of them, by another seed, can join a folder that
    has some. `bent` bends the organs across slices too, for more variety to learn from.
    """
    if not 1 <= per_map <= MOST:
        raise Usage(f"--per-map {per_map}", "is no number of CTs to paint", f"ask for 1 to {MOST}")
    if jobs < 1:
        raise Usage(f"--jobs {jobs}", "is no number of processes", "use at least 1")
    for option, value in (("--seed", seed), ("--first", first)):
        if value < 0:
            raise Usage(f"{option} {value}", "is negative", "use 0 or more")
    if phase and phase not in PHASES:
        raise Usage(f"--phase {phase}", "is unknown", f"use one of {', '.join(PHASES)}")
    if phase and even_phases:
        raise Usage(f"--phase {phase}", "does not go with --even-phases", "give one of them")
    _need_scipy()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / FILE, NUMBERS)
    except OSError as error:
        raise Environment(folder, f"cannot be written: {error.strerror}", "choose another folder") from error
    tasks = [
        Task(
            one,
            tuple((first + k, case_seed(seed, one.name, k)) for k in range(per_map)),
            folder,
            even_phases,
            phase,
            bent,
        )
        for one in maps
    ]
    total, done = len(maps) * per_map, 0
    records = _records(folder)
    refuse_strangers(folder / RECORD)

    def note(some: dict[str, dict[str, object]]) -> None:
        nonlocal done
        records.update(some)
        for _ in some:
            done += 1
            progress(done, total)

    if jobs == 1 or total == 1:
        for task in tasks:
            note(_write_cases(task))
    else:
        pool = ProcessPoolExecutor(min(jobs, total), mp_context=get_context("spawn"))
        try:
            for future in as_completed([pool.submit(_write_cases, task) for task in tasks]):
                note(future.result())
        finally:
            pool.shutdown(cancel_futures=True)
    write_json(folder / RECORD, {name: records[name] for name in sorted(records)}, replace=True)
    return [folder / f"{one.name}_{k}-ct.nii.gz" for one in maps for k in range(first, first + per_map)]


def case_seed(seed: int, name: str, k: int) -> int:
    """The seed of a map's k-th case of a call, the same whichever other maps and however many cases are painted."""
    return int(np.random.SeedSequence([seed, zlib.crc32(name.encode()), k]).generate_state(1, np.uint64)[0])


def _records(folder: Path) -> dict[str, dict[str, object]]:
    """What is known of the cases that an earlier call painted here and that are still there."""
    try:
        before = json.loads((folder / RECORD).read_text("utf-8"))
        return {name: record for name, record in before.items() if (folder / f"{name}-ct.nii.gz").is_file()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError):
        raise Usage(folder / RECORD, "is no record of painted CTs", "remove it or choose another folder") from None


def _write_cases(task: Task) -> dict[str, dict[str, object]]:
    """One record a case."""
    from unoise_engine.lab.painted.build import build
    from unoise_engine.lab.painted.hounsfield import draw_palette
    from unoise_engine.lab.painted.image import paint, squared
    from unoise_engine.lab.painted.labelmap import STEP_MM, read_map
    from unoise_engine.lab.painted.tissues import labels_of
    from unoise_engine.volume.volume import Grid, Volume
    from unoise_engine.volume.write import write_volume

    source = read_map(task.source.path, task.source.names)
    records: dict[str, dict[str, object]] = {}
    for k, seed in task.cases:
        rng = np.random.Generator(np.random.PCG64(seed))
        scene = build(source, rng, task.bent)
        palette = draw_palette(rng, task.even_phases, task.phase)
        ct, labels = squared(paint(scene, palette), -1000), squared(labels_of(scene.tissue), 0)
        z, y, x = ct.shape
        grid = Grid((x, y, z), STEP_MM[::-1], (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
        name = f"{task.source.name}_{k}"
        write_volume(Volume(labels, grid), task.folder / f"{name}-labels.nii.gz")
        write_volume(Volume(ct, grid), task.folder / f"{name}-ct.nii.gz")  # last: a CT on disk has its labels
        records[name] = {"map": task.source.path.name, "seed": seed, "phase": palette.phase, "bent": task.bent}
    return records


def _stem(path: Path) -> str:
    lower = path.name.lower()
    suffix = max((s for s in IMAGE_SUFFIXES if lower.endswith(s)), key=len)
    return path.name[: -len(suffix)]


def _case_name(folder: Path, path: Path) -> str:
    """Folder and file, since "50" alone says little; no "_", which ends the map's part of a case's name."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", f"{folder.resolve().name}-{_stem(path)}").strip("-")


def _need_scipy() -> None:
    from importlib.util import find_spec

    from unoise_engine.errors import MissingExtra

    if find_spec("scipy") is None:
        raise MissingExtra("scipy", "train")

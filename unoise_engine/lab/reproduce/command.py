"""`unoise_engine reproduce`: from nothing, or from a folder of pairs, to report.html."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from unoise_engine.errors import Usage
from unoise_engine.evaluate.data import find_entries, fingerprint
from unoise_engine.evaluate.figures import new_figure
from unoise_engine.files import refuse_strangers
from unoise_engine.lab.phantom.write import write_phantoms
from unoise_engine.lab.reproduce.figures import draw_all
from unoise_engine.lab.reproduce.recipes import KINDS, choose_recipes
from unoise_engine.lab.reproduce.report import Content, write_page
from unoise_engine.lab.reproduce.scale import Scale, choose_scale
from unoise_engine.lab.reproduce.stages import Stages
from unoise_engine.lab.reproduce.study import Study
from unoise_engine.progress import Progress
from unoise_engine.training.device import choose_device
from unoise_engine.volume.pairs import find_pairs
from unoise_engine.volume.read import read_image
from unoise_engine.volume.write import cannot_write

PHANTOM_NOTE = "Figures on synthetic CTs say nothing about patients."
SMOKE_NOTE = "Scale smoke shows that everything runs; nets trained for a few steps say nothing about the methods."
MAIN, PLANTED = "pancreas", "planted"


@dataclass(frozen=True)
class Request:
    """`data`: a folder of pairs, or None for phantoms. `planted`: also the study whose cause is known."""

    out: Path
    scale: str = "demo"
    data: Path | None = None
    recipe: str = "default"
    organ: str = "pancreas"
    seed: int = 0
    device: str = "auto"
    jobs: int = 0
    progress: str = "auto"
    planted: bool = True
    command: str = ""


def reproduce(request: Request, show: Progress) -> Path:
    """Every stage that is not done, then the report; `request.out` must exist.

    Raises Usage, MissingExtra, Environment, and what trainings raise.
    """
    scale = choose_scale(request.scale)
    if request.recipe not in KINDS:
        raise Usage(f"--recipe {request.recipe}", "unknown", f"choose from {', '.join(KINDS)}")
    if request.seed < 0:
        raise Usage(f"--seed {request.seed}", "is negative", "use 0 or more")
    new_figure()  # before hours are spent: MissingExtra
    choose_device(request.device)
    for name in ("report.html", "figures", "records"):
        refuse_strangers(request.out / name)
    stages = Stages(request.out)
    data, key, said = _data(request, scale, stages)
    window = _ends(data, key, stages) if request.recipe == "paper" else None
    recipes = choose_recipes(request.recipe, scale, request.organ, window, request.seed)
    study = Study(
        MAIN, data, key, recipes, scale, request.seed, request.device, request.progress, synthetic=request.data is None
    )
    keys = study.train(stages)
    study.evaluate(stages, keys, show)
    seconds = study.time(stages, keys)
    planted = _planted(request, scale, stages, show) if request.planted and scale.name != "smoke" else None
    try:
        figures = draw_all(study, request.out / "figures")
        facts = {record["stage"]: record["facts"] for record in stages.done}
        content = Content(
            study=study,
            command=request.command,
            data=said,
            seconds=seconds,
            facts=facts,
            stages=stages.done,
            figures=figures,
            planted=planted,
            notes=[SMOKE_NOTE] * (scale.name == "smoke") + [PHANTOM_NOTE] * (request.data is None),
        )
        write_page(request.out / "report.html", content)
    except OSError as error:
        raise cannot_write(request.out, error) from None
    return request.out / "report.html"


def _data(request: Request, scale: Scale, stages: Stages) -> tuple[Path, str, str]:
    """The folder, a key for its content, and a word on it."""
    if request.data is not None:
        key = fingerprint(find_entries((request.data,), [request.organ]))
        return request.data, key, f"{request.data.resolve().name}, sha256 {key[:16]}"
    key, facts = _phantoms(request, scale, stages, "phantoms", planted=False)
    return stages.out / "phantoms", key, f"{facts['count']} phantoms of {scale.size} x {scale.size} x {scale.slices}"


def _phantoms(request: Request, scale: Scale, stages: Stages, name: str, planted: bool) -> tuple[str, dict[str, Any]]:
    jobs = request.jobs or os.cpu_count() or 1

    def make(folder: Path, begun: bool) -> dict[str, Any]:
        write_phantoms(folder, scale.phantoms, request.seed, scale.size, scale.slices, jobs, planted=planted)
        return {"count": scale.phantoms}

    depends = [scale.phantoms, scale.size, scale.slices, request.seed, planted]
    words = ["unoise_engine phantom DATA", "--planted" if planted else "", f"--count {scale.phantoms}"]
    words += [f"--size {scale.size} --slices {scale.slices} --seed {request.seed}"]
    return stages.run(name, depends, make, " ".join(filter(None, words)))


def _ends(data: Path, key: str, stages: Stages) -> tuple[float, float]:
    """The least and the largest HU of the set, as the published pipeline scales by them."""

    def look(folder: Path, begun: bool) -> dict[str, Any]:
        folder.mkdir(parents=True, exist_ok=True)
        ends = []
        for pair in find_pairs(data):
            voxels = read_image(pair.ct).voxels
            good = voxels[np.isfinite(voxels)] if voxels.dtype.kind == "f" else voxels
            if good.size:
                ends.append((float(good.min()), float(good.max())))
        if not ends:
            raise Usage(data, "holds no CT with a finite voxel", "correct the data")
        return {"low": min(a for a, _ in ends), "high": max(b for _, b in ends)}

    _, facts = stages.run("min-max", key, look)
    return facts["low"], facts["high"]


def _planted(request: Request, scale: Scale, stages: Stages, show: Progress) -> Study:
    """The same noise models, Large alone, where the cause is known. Always by recipe `default`."""
    shorter = replace(scale, slices=16, phantoms=min(scale.phantoms, 120), utility_steps=2 * scale.utility_steps)
    key, _ = _phantoms(request, shorter, stages, "planted-phantoms", planted=True)
    recipes = choose_recipes("default", shorter, "target", None, request.seed)
    study = Study(PLANTED, stages.out / "planted-phantoms", key, recipes, shorter, request.seed, request.device,
                  request.progress, sizes=("large",), landmark="landmark",
                  decoys=("decoy", "decoy_landmark"))  # fmt: skip
    study.evaluate(stages, study.train(stages), show)
    return study

"""Trains the utility and every noise model on one set of data, and judges them on its test patients."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unoise_engine.errors import EngineError
from unoise_engine.evaluate.command import Request, run
from unoise_engine.evaluate.data import find_entries, read_part, read_scan
from unoise_engine.explanation.occlusion import Occlusion
from unoise_engine.explanation.target import Target
from unoise_engine.files import remove
from unoise_engine.lab.phantom.abdomen import PROBE, synthesise
from unoise_engine.lab.reproduce.recipes import SIZES, Recipes
from unoise_engine.lab.reproduce.scale import Scale
from unoise_engine.lab.reproduce.stages import GO_ON, Stages
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.given import own
from unoise_engine.progress import Progress
from unoise_engine.training.card import Card
from unoise_engine.training.export import export_bundle
from unoise_engine.training.fit import train_unoise, train_utility
from unoise_engine.training.maps import RunMethod
from unoise_engine.training.recipes import UNoiseRecipe, UtilityRecipe
from unoise_engine.training.runs import UNoiseRun, UtilityRun
from unoise_engine.training.timing import time_methods

METHODS = ("unoise-near", "gradcam", "occlusion", "random", "edges", "distance")


@dataclass(frozen=True)
class Study:
    """`name` starts the stages' names. `titles` of the published noise models are those of the paper's own curves."""

    name: str
    data: Path
    data_key: str
    recipes: Recipes
    scale: Scale
    seed: int
    device: str
    progress: str
    sizes: tuple[str, ...] = SIZES
    landmark: str = ""
    decoys: tuple[str, ...] = ()
    synthetic: bool = True  # the data
    folders: dict[str, Path] = field(default_factory=dict)

    def train(self, stages: Stages) -> dict[str, str]:
        """Every training, in order; fills `folders` with the runs by name and returns the stages' keys."""
        keys: dict[str, str] = {}
        keys["utility"] = self._utility(stages, "utility", self.recipes.utility)
        for size in self.sizes:
            keys[size] = self._utility(stages, f"segmenter-{size}", self.recipes.segmenter(size))
            for pretrained in (False, True):
                title = title_of(size, pretrained)
                name = f"unoise-{size}{'-pretrained' if pretrained else ''}"
                start = f"segmenter-{size}" if pretrained else ""
                recipe = self.recipes.noise(size, pretrained)
                keys[title] = self._unoise(stages, name, title, recipe, start, [keys["utility"], keys[size]])
        keys["ours"] = self._unoise(stages, "unoise-ours", "ours", self.recipes.ours, "", [keys["utility"]])
        return keys

    def evaluate(self, stages: Stages, keys: Mapping[str, str], show: Progress) -> str:
        """Bundle, figures of every map on the test patients; returns the evaluation's key."""

        def export(folder: Path, begun: bool) -> dict[str, Any]:
            card = Card(
                title=f"{self.name}: utility and U-Noise of reproduce --scale {self.scale.name}",
                training_data="See the report of the reproduction.",
                synthetic=self.synthetic,
                intended_use="Reproduction of figures. Not for clinical use.",
            )
            remove(folder)  # written, but its record was not
            runs, probe = (self.folders["utility"], self.folders["ours"]), synthesise(**PROBE).ct
            export_bundle(*runs, folder, card=card, weights=False, probe=probe)
            return {}

        exported, _ = stages.run(f"{self.name}-bundle", [keys["utility"], keys["ours"]], export)
        self.folders["bundle"] = stages.out / f"{self.name}-bundle"

        def judge(folder: Path, begun: bool) -> dict[str, Any]:
            folder.mkdir(parents=True, exist_ok=True)
            request = Request(
                data=(self.data,),
                out=folder,
                bundle=str(self.folders["bundle"]),
                split=self.folders["utility"] / "split.json",
                methods=METHODS,
                landmark=self.landmark,
                decoys=self.decoys,
                slices_per_case=self.scale.slices_per_case,
                empty_per_case=1,
                occlusion=Occlusion(15, self.scale.stride),
                draws=self.scale.draws,
                seed=self.seed,
                resamples=self.scale.resamples,
                overwrite=True,  # what an interrupted stage has written
                anyway=True,  # of a short training too
                command=f"reproduce, stage {self.name}-evaluation",
            )
            channels = self.recipes.utility.ct.channels
            more = {t: RunMethod(UNoiseRun.open(self.folders[t]), channels) for t in self.titles}
            return {"refused": run(request, show, more)}

        depends = [exported, *(keys[t] for t in self.titles), asdict(self.scale), self.seed]
        key, _ = stages.run(f"{self.name}-evaluation", depends, judge)
        self.folders["evaluation"] = stages.out / f"{self.name}-evaluation"
        return key

    def time(self, stages: Stages, keys: Mapping[str, str]) -> dict[str, Any]:
        """Table 2, on a slice of a test patient."""

        def measure(folder: Path, begun: bool) -> dict[str, Any]:
            folder.mkdir(parents=True, exist_ok=True)
            x, _, target, _ = samples(self, 1)[0]
            runs = {t: UNoiseRun.open(self.folders[t]) for t in self.titles if "Pretrained" not in t}
            utility = UtilityRun.open(self.folders["utility"])
            return {"seconds": time_methods(utility, runs, x, target.mask[0, 0], self.device)}

        depends = [keys[t] for t in ("utility", *self.titles)]
        return stages.run(f"{self.name}-timing", [depends, self.device, os.cpu_count()], measure)[1]["seconds"]

    @property
    def titles(self) -> tuple[str, ...]:
        """Of the published noise models."""
        return tuple(title_of(size, pretrained) for pretrained in (False, True) for size in self.sizes)

    def _utility(self, stages: Stages, name: str, recipe: UtilityRecipe) -> str:
        def make(folder: Path, begun: bool) -> dict[str, Any]:
            def go(resume: bool) -> None:
                train_utility(self.data, folder, recipe, device=self.device, progress=self.progress, resume=resume)

            again(folder, begun, go)
            return facts_of(folder, UtilityRun.open(folder).whole_net().n_parameters)

        key, _ = stages.run(
            f"{self.name}-{name}", [self.data_key, asdict(recipe)], make, self._command("utility", name)
        )
        self.folders[name] = stages.out / f"{self.name}-{name}"
        return key

    def _unoise(
        self, stages: Stages, name: str, title: str, recipe: UNoiseRecipe, start: str, depends: list[str]
    ) -> str:
        def make(folder: Path, begun: bool) -> dict[str, Any]:
            def go(resume: bool) -> None:
                train_unoise(
                    self.data,
                    self.folders["utility"],
                    folder,
                    recipe,
                    init=self.folders[start] if start else None,
                    device=self.device,
                    progress=self.progress,
                    resume=resume,
                )

            again(folder, begun, go)
            return facts_of(folder, UNoiseRun.open(folder).net(self.recipes.utility.ct.channels).n_parameters)

        key, _ = stages.run(
            f"{self.name}-{name}", [depends, asdict(recipe)], make, self._command("unoise", name, start)
        )
        self.folders[title] = stages.out / f"{self.name}-{name}"
        return key

    def _command(self, kind: str, name: str, start: str = "") -> str:
        """What does the same by hand: every run's folder holds its recipe."""
        run = f"OUT/{self.name}-{name}"
        words = ["unoise_engine", "train", kind, str(self.data.name), "-o", "RUN", "--recipe", f"{run}/recipe.toml"]
        words += ["--utility", f"OUT/{self.name}-utility"] if kind == "unoise" else []
        words += ["--init", f"OUT/{self.name}-{start}"] if start else []
        return " ".join(words)


def title_of(size: str, pretrained: bool) -> str:
    return f"U-Noise {size.title()}{' (Pretrained)' if pretrained else ''}"


def again(folder: Path, begun: bool, go: Callable[[bool], None]) -> None:
    """Goes on with a training that was begun; starts it afresh otherwise."""
    try:
        go(begun and (folder / "recipe.toml").is_file())
    except EngineError as e:
        if "--resume" not in e.cure:
            raise
        raise type(e)(e.source, e.what, GO_ON) from None  # only `train` has that option


def facts_of(run: Path, parameters: int) -> dict[str, Any]:
    """Parameters, and what metrics.csv says: seconds of training alone, the best validation value."""
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found: dict[str, Any] = {"parameters": parameters, "steps": int(rows[-1]["step"])}
    found["train_seconds"] = float(rows[-1]["seconds"])
    for name, best in (("val_dice", max), ("val_loss", min)):
        if name in rows[0]:
            found[name] = round(best(float(row[name]) for row in rows), 4)
    return found


Sample = tuple[np.ndarray, np.ndarray, Target, str]


def samples(study: Study, count: int) -> list[Sample]:
    """Slices of test patients with the most organ: normalised image (c, h, w), truth (h, w), what is found
    there, a name.
    """
    bundle = load_bundle(study.folders["bundle"], "cpu")
    keep = read_part(study.folders["utility"] / "split.json", "test")
    organ = bundle.manifest.organ
    found: list[Sample] = []
    for entry in find_entries((study.data,), [organ], keep=keep)[:count]:
        scan = read_scan(entry, own(bundle.recipe))
        k = int(scan.organ.sum(axis=(1, 2)).argmax())
        x = scan.given.items(slice(k, k + 1))
        found.append((x[0], scan.organ[k], Target(bundle.predict(x)), f"{entry.name} slice {k + 1}"))
    return found

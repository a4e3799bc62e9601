"""How often maps of nets that nnU-Net and MONAI made put the known cause above what looks alike, in held-out phantoms.

    python -m Testing.foreign.planted_cause OUT NET... [--cts 8] [--seed 1000] [--methods ...] [--taught PHANTOMS]

A NET is a folder of nnU-Net's results or a MONAI bundle, trained on planted phantoms (train_nnunet.py, train_monai.py):
an organ is the target only where its landmark is near. Each is imported, looks at CTs that it has not seen, and is
explained by each method; where PHANTOMS are given, U-Noise is taught on them by `train unoise`. Prints a table, and
writes it to OUT/planted.md. Two questions, of all axial slices where the net finds the target and its landmark shows:

- how often a landmark's voxel ranks above a decoy's. Decoys lie farther away than landmarks, so that mere nearness to
  the target does well here: the row "distance" says how well.
- how often it ranks above unlabelled tissue that is as far from the target: distance alone gets 0.5.

Both again with the net's weights shuffled, asked about the same voxels (U-Noise: its own weights, as it does not run
the net). Means over CTs with 95 % intervals, CTs resampled, the shuffles too: each CT has its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from unoise_engine.evaluate.cause import SOLVED, above
from unoise_engine.evaluate.interval import Bootstrap, Estimate
from unoise_engine.evaluate.overlap import dice
from unoise_engine.evaluate.sanity import SameArea
from unoise_engine.explanation.gradcam import GradCAM
from unoise_engine.explanation.input_gradient import InputGradient
from unoise_engine.explanation.method import Method, silent
from unoise_engine.explanation.methods import LEARNT
from unoise_engine.explanation.occlusion import Occlusion
from unoise_engine.explanation.ranking import ranks
from unoise_engine.explanation.refine import RefinedUNoise
from unoise_engine.explanation.segment import Prediction, segment
from unoise_engine.explanation.slices import evenly
from unoise_engine.explanation.structures import Structures
from unoise_engine.explanation.target import Target
from unoise_engine.explanation.unoise import NearUNoise
from unoise_engine.foreign.importing import import_model
from unoise_engine.foreign.monai_bundle import read_monai
from unoise_engine.foreign.nnunet import read_nnunet
from unoise_engine.lab.phantom.planted import LABELS
from unoise_engine.lab.phantom.write import write_phantoms
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.prepared import Prepared
from unoise_engine.models.segmenter import GRADCAM, GRADIENT, Segmenter
from unoise_engine.models.session import Bundle
from unoise_engine.volume.distance import signed_distance
from unoise_engine.volume.read import read_image
from unoise_engine.volume.volume import AxialView

TARGET = "target"
DECOYS = [LABELS["decoy"], LABELS["decoy_landmark"]]
AS_FAR = 0.75  # pixels: tissue whose distance from the target differs by no more is as far as a landmark's voxel
DISTANCE = "distance"
ABOVE_DECOYS, ABOVE_TISSUE = "above decoys", "above tissue as far"
QUESTIONS = ABOVE_DECOYS, ABOVE_TISSUE
PLANES = 4  # of a CT that a 2-D net is asked about
METHODS: dict[int, tuple[Method, ...]] = {  # by the net's rank; as much as a CPU can do within an hour or so
    2: (
        GradCAM(), InputGradient(), Structures(), Occlusion(patch=5, minutes=0.1), NearUNoise(),
        RefinedUNoise(steps=30, cell=2),
    ),
    3: (
        GradCAM(), InputGradient(draws=4), Structures(), Occlusion(patch=5, minutes=0.3), NearUNoise(),
        RefinedUNoise(steps=20, draws=2, cell=2),
    ),
}  # fmt: skip


@dataclass
class Row:
    """One method on one net: a value a CT, of the net as it is and shuffled, for each question."""

    learnt: dict[str, list[float]] = field(default_factory=lambda: {question: [] for question in QUESTIONS})
    shuffled: dict[str, list[float]] = field(default_factory=lambda: {question: [] for question in QUESTIONS})
    seconds: float = 0.0


@dataclass
class Found:
    """Of one net: dice of the target a CT, how many slices were judged, and the rows."""

    dices: list[float] = field(default_factory=list)
    judged: int = 0
    rows: dict[str, Row] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Scene:
    """A held-out CT as a net is given it, what the net finds, and the labels on the CT's axial slices (n, h, w)."""

    given: Prepared
    found: Prediction
    labels: np.ndarray
    mask: np.ndarray  # the net's own, on the CT's slices

    @staticmethod
    def of(ct: Path, bundle: Bundle) -> Scene:
        image, truth = read_image(ct), read_image(ct.with_name(ct.name.replace("-ct.", "-labels.")))
        given = Prepared.of(image, bundle.recipe)  # type: ignore[arg-type]
        found = segment(bundle, given, bundle.manifest.clean_up)
        view = AxialView.of(image.grid)
        mask = view.apply(found.mask(bundle.manifest.number).voxels) > 0
        return Scene(given, found, view.apply(truth.voxels).astype(int), mask)

    def slices(self) -> np.ndarray:
        """Axial slices that show target, landmark and decoys, and on which the net finds the target."""
        shown = [
            k for k, (truth, mask) in enumerate(zip(self.labels, self.mask))
            if {LABELS["target"], LABELS["landmark"]} <= {*np.unique(truth)} and np.isin(truth, DECOYS).any()
            and dice(mask, truth == LABELS["target"]) >= SOLVED
        ]  # fmt: skip
        return np.array(shown, int)

    def explained(self, method: Method, bundle: Bundle, some: np.ndarray, lost: int | None = None) -> np.ndarray:
        """The map on the CT's axial slices. `some` are the slices that are judged: a net of planes is asked about no
        other. With the seed `lost` what was learnt is lost: then methods that look themselves at what is found are
        asked about as many voxels of what the shuffled net finds, the others about the same voxels."""
        maps, model = np.zeros(self.given.shape, np.float32), bundle
        asked: Segmenter
        if lost is not None:
            model = bundle.shuffled(
                (*bundle.manifest.noise_models.values(),) if method.needs in LEARNT else ("utility",), lost
            )
        for planes in self._steps(some):
            x, target = self.given.items(planes), self.found.target(planes)
            asked = model
            if lost is not None and method.needs not in (*LEARNT, GRADCAM, GRADIENT):
                asked = SameArea(model, int(target.mask.sum()))
                target = Target(asked.predict(x))
            maps[planes] = self.given.as_planes(method(asked, x, target, silent))
        found: np.ndarray = self.given.view.apply(self.given.restore(maps).voxels)
        return found

    def _steps(self, some: np.ndarray) -> Iterator[slice]:
        """The model's planes, which may be counted from the other end."""
        if self.given.recipe.rank == 3:
            yield slice(0, self.given.shape[0])
            return
        marked = np.zeros(self.labels.shape, np.float32)
        marked[some] = 1
        for k, plane in enumerate(self.given.resampled(marked)):
            if plane.any():
                yield slice(k, k + 1)

    def judged(self, importance: np.ndarray, some: np.ndarray, seed: int) -> dict[str, float]:
        """Means over the slices."""
        values: dict[str, list[float]] = {question: [] for question in QUESTIONS}
        for k in some:
            tie = np.random.default_rng([seed, int(k)]).random(importance[k].shape)
            for question, value in zip(QUESTIONS, judge(importance[k], self.labels[k], tie)):
                values[question].append(value)
        return {question: float(np.nanmean(some)) for question, some in values.items()}


def judge(importance: np.ndarray, labels: np.ndarray, tie: np.ndarray) -> tuple[float, float]:
    """Of one slice (h, w): how often a landmark's voxel ranks above a decoy's, and above tissue as far; ties by lot."""
    placed, landmark = ranks(importance, tie), labels == LABELS["landmark"]
    away = signed_distance(labels == LABELS["target"])
    plain = labels == 0
    as_far = [
        above(placed[at][None], placed[plain & (abs(away - away[at]) <= AS_FAR)])
        for at in map(tuple, np.argwhere(landmark))
    ]
    return above(placed[landmark], placed[np.isin(labels, DECOYS)]), float(np.nanmean(as_far))


def measure(bundle: Bundle, cts: Sequence[Path], methods: Sequence[Method], seed: int) -> Iterator[Found]:
    """What is known after each CT; prints its figures as they come."""
    found = Found()
    for number, ct in enumerate(cts):
        scene = Scene.of(ct, bundle)
        found.dices.append(dice(scene.mask, scene.labels == LABELS["target"]))
        some = evenly(scene.slices(), PLANES if scene.given.recipe.rank == 2 else 0)
        found.judged += len(some)
        print(f"  {ct.name}: dice {found.dices[-1]:.3f}, {len(some)} slices", flush=True)
        if not len(some):
            yield found
            continue
        near = np.stack([signed_distance(mask) if mask.any() else np.zeros(mask.shape) for mask in scene.mask])
        row = found.rows.setdefault(DISTANCE, Row())
        for question, value in scene.judged(near, some, seed).items():
            row.learnt[question].append(value)
        for method in methods:
            row, began = found.rows.setdefault(method.name, Row()), time.process_time()
            maps = scene.explained(method, bundle, some)
            row.seconds += time.process_time() - began
            again = scene.explained(method, bundle, some, lost=seed + number)
            for values, one in ((row.learnt, maps), (row.shuffled, again)):
                for question, value in scene.judged(one, some, seed).items():
                    values[question].append(value)
            told = [f"{row.learnt[q][-1]:.3f} ({row.shuffled[q][-1]:.3f})" for q in QUESTIONS]
            print(f"    {method.name}: {', '.join(told)}", flush=True)
        yield found


def table(name: str, found: Found, seed: int) -> list[str]:
    """Markdown."""
    lines = [
        f"### {name}",
        f"Target's dice {estimate(found.dices, seed)} on {len(found.dices)} CTs; {found.judged} slices judged.",
        "",
        "| map | above decoys | weights shuffled | above tissue as far | weights shuffled | difference | cpu-s a CT |",
        "| --- | --- | --- | --- | --- | --- | ---: |",
    ]
    for method, row in found.rows.items():
        cells = [
            str(estimate(values[question], seed)) for question in QUESTIONS for values in (row.learnt, row.shuffled)
        ]
        mine, other = (np.array(values[ABOVE_TISSUE]) for values in (row.learnt, row.shuffled))
        lost = str(estimate(mine - other, seed)) if len(other) else "-"
        took = f"{row.seconds / len(mine):.1f}" if row.seconds else "-"
        lines.append(f"| {' | '.join([method, *cells, lost, took])} |")
    return [*lines, ""]


def estimate(values: Sequence[float] | np.ndarray, seed: int) -> Estimate:
    return Bootstrap(len(values), seed).estimate(np.array(values))


def imported(net: Path, out: Path, phantoms: Path | None, steps: int, seed: int) -> Bundle:
    """The bundle of a net, with U-Noise where there are phantoms to teach it on."""
    folder = out / f"{net.name}-imported"
    if not folder.exists():
        finished = [*net.glob("fold_*/checkpoint_final.pth")]  # or stopped before its end
        how = {} if finished else {"checkpoint": "checkpoint_best.pth"}
        source = read_monai(net) if (net / "configs").is_dir() else read_nnunet(net, **how)
        import_model(source, folder, licence="Apache-2.0")
    if phantoms is not None:
        taught = out / f"{net.name}-taught"
        if not taught.exists():
            words = [sys.executable, "-m", "unoise_engine", "train", "unoise", str(phantoms), "-o", str(taught)]
            words += ["--utility", str(folder), "--label", TARGET, "--steps", str(steps), "--seed", str(seed)]
            subprocess.run([*words, "--progress", "off"], check=True)
        folder = taught
    return load_bundle(folder, "cpu", threads=1, label=TARGET)


def main(arguments: Sequence[str] | None = None) -> dict[str, Found]:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("nets", type=Path, nargs="+")
    parser.add_argument("--cts", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--methods", nargs="*", default=[])
    parser.add_argument("--taught", type=Path, default=None)
    parser.add_argument("--steps", type=int, default=300)
    chosen = parser.parse_args(arguments)
    cts = write_phantoms(chosen.out / "held-out", chosen.cts, chosen.seed, 96, 24, 1, planted=True)
    results: dict[str, Found] = {}
    for net in chosen.nets:
        print(net.name, flush=True)
        bundle = imported(net, chosen.out, chosen.taught, chosen.steps, chosen.seed)
        methods = [
            one for one in METHODS[bundle.recipe.rank]
            if one.needs in ("", *bundle.answers) and one.name in (chosen.methods or [one.name])
        ]  # fmt: skip
        for found in measure(bundle, cts, methods, chosen.seed):
            results[net.name] = found
            lines = [line for name, known in results.items() for line in table(name, known, chosen.seed)]
            (chosen.out / "planted.md").write_text("\n".join(lines))
        print("\n".join(table(net.name, results[net.name], chosen.seed)), flush=True)
    return results


if __name__ == "__main__":
    main()

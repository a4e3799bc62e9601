"""`unoise_engine benchmark`: everything is checked, then timed, then written."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unoise_engine.child import usable_cores
from unoise_engine.errors import MissingExtra, Usage
from unoise_engine.files import refuse_earlier, refuse_overlap, write, write_json
from unoise_engine.lab.benchmark.adaptive import adaptive_apart
from unoise_engine.lab.benchmark.contest import Contest, Row, hold
from unoise_engine.lab.benchmark.figure import draw
from unoise_engine.lab.benchmark.findings import Findings, write_csv_files
from unoise_engine.lab.benchmark.floor import floors, peak_gflops
from unoise_engine.lab.benchmark.goals import PAPER_MODEL, goals
from unoise_engine.lab.benchmark.growth import growth
from unoise_engine.lab.benchmark.machine import describe_machine
from unoise_engine.lab.benchmark.occluding import occlusion_contests
from unoise_engine.lab.benchmark.passes import pass_contests
from unoise_engine.lab.benchmark.report import report
from unoise_engine.lab.benchmark.rivals import can_train, left_out, need_training, open_rivals
from unoise_engine.lab.benchmark.subject import SIDE, Subject, fullest_slice, slices_of
from unoise_engine.lab.benchmark.whole import WholeCT, explain_whole
from unoise_engine.lab.phantom.abdomen import synthesise
from unoise_engine.lab.phantom.labels import LABELS
from unoise_engine.models.bundles import DEFAULT_BUNDLE, load_bundle
from unoise_engine.models.given import modality_of
from unoise_engine.models.preparation import Preparation
from unoise_engine.models.profile import profiled
from unoise_engine.models.session import Bundle
from unoise_engine.progress import Progress, Quiet
from unoise_engine.results.case_folder import prepare_output
from unoise_engine.volume.case import Case, ReadSettings
from unoise_engine.volume.find import find_cases
from unoise_engine.volume.write import cannot_write, write_volume

SEED = 2026  # of the phantom whose slice is explained: that of the demo
NAMES = ("benchmark.*", "machine.json", "growth.csv", "nodes.csv")
PAPER_SLICES = 4  # that the paper's models take their statistics from
SMALL_SIDE = 96  # pixels of a slice in a quick run, around the organ
SMALL = {"depth": 3, "first_channels": 8}  # what stands for the paper's utility in a quick run


@dataclass(frozen=True)
class Request:
    """`ct`: a real one, to say on too how far default occlusion is from the exact map. An imported model is measured on
    it, and on a phantom without it."""

    out: Path
    bundle: str = ""
    peers: bool = False
    paper: bool = False
    quick: bool = False
    repeats: int = 5
    ct: Path | None = None
    device: str = "auto"
    threads: int = 0
    command: str = ""
    overwrite: bool = False
    label: str = ""  # of a bundle of several

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise Usage(f"--repeats {self.repeats}", "measures nothing", "give at least 1")
        if self.threads < 0:
            raise Usage(f"--threads {self.threads}", "is no number of threads", "give 1 or more, or 0 for all")


@dataclass(frozen=True)
class Size:
    """How much of everything a run takes."""

    batches: int  # of random places of exact occlusion
    places: int  # of the exact map that the default one is compared with
    counted: int  # places whose windows are counted
    ct: tuple[int, int]  # pixels a side and slices of the whole CT


FULL = Size(batches=4, places=400, counted=16, ct=(512, 200))
QUICK = Size(batches=2, places=16, counted=3, ct=(256, 20))


def run(request: Request, show: Progress | None = None) -> bool:
    """Writes all files into `request.out`, made if need be, and returns whether all that ran agrees.

    Raises Usage, Environment (also for an earlier report, without `overwrite`), Integrity, CaseRefused; MissingExtra
    for --paper without the extra `train`.
    """
    began, show = time.perf_counter(), show or Quiet()
    refuse_overlap(request.out, [request.ct] if request.ct else [], inside_too=False)
    refuse_earlier(request.out, NAMES, request.overwrite)
    if request.paper:
        need_training()
    size = QUICK if request.quick else FULL
    prepare_output(request.out)
    bundle = load_bundle(request.bundle or DEFAULT_BUNDLE, request.device, request.threads, label=request.label)
    found = Findings(request.command, describe_machine(bundle.device, request.threads))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        shipped = _subject(bundle, request)
        found.left_out = left_out(request.peers, shipped.imported)
        found.size = shipped.organ.shape
        if not shipped.imported:
            found.peak = peak_gflops(3 if request.quick else 8)  # and again later: a busy machine hides it
        _measure(shipped, request, size, found, scratch, show)
        _apart(shipped, request, size, found, show)
        if not shipped.imported:
            with show.stage(shipped.name, "growth", 1) as advance:
                threads = request.threads or usable_cores()
                found.points = growth(bundle, shipped.image, threads, min(request.repeats, 3), request.quick, advance)
        if request.paper:
            _measure(_paper_subject(scratch, request, show), request, size, found, scratch, show)
        found.whole = _whole(bundle, request, size, scratch, show)
    if not request.quick and not shipped.imported:
        found.goals = goals(found.rows, found.apart, found.points, found.whole, bundle.device)
    found.seconds = time.perf_counter() - began
    _write(request.out, found)
    return all(row.agrees for row in found.rows)


def _subject(bundle: Bundle, request: Request) -> Subject:
    """The slice of a phantom with most of the organ in the bundle's own eyes; of an imported model that of the CT."""
    name, quick = bundle.manifest.name, request.quick
    if isinstance(bundle.recipe, Preparation) and request.ct is not None:
        return fullest_slice(name, bundle, _only_case(request.ct, bundle).read().ct)
    phantom = synthesise(SEED, size=256, slices=12 if quick else 40)
    fullest = [int(np.argmax((phantom.labels.voxels == LABELS["pancreas"]).sum(axis=(1, 2))))] if quick else None
    return fullest_slice(name, bundle, phantom.ct, fullest, SMALL_SIDE if quick else SIDE)


def _only_case(path: Path, bundle: Bundle) -> Case:
    case, *others = find_cases([path], ReadSettings(modality=modality_of(bundle.recipe)))
    if others:
        raise Usage(path, f"holds {len(others) + 1} CTs", "give one of them")
    return case


def _paper_subject(scratch: Path, request: Request, show: Progress) -> Subject:
    """The paper's nets by size. What is explained is the phantom's own organ: what random weights find is scattered."""
    from unoise_engine.training.paper_model import RECIPE, paper_bundle
    from unoise_engine.training.recipes import Net

    with show.stage(PAPER_MODEL, "building", 1) as advance:
        phantom = synthesise(SEED, size=256, slices=12)
        labels = phantom.labels.voxels == LABELS["pancreas"]
        best = np.argsort(-labels.sum(axis=(1, 2)))[:PAPER_SLICES].tolist()
        side = SMALL_SIDE if request.quick else SIDE
        slices = slices_of(phantom.ct, RECIPE, best, side)
        mask = replace(RECIPE, window_hu=(0, 1), channels=1, mean=(0.0,), std=(1.0,))
        organ = slices_of(phantom.ct.with_voxels(labels.astype(np.float32)), mask, best[:1], side)[0, 0] > 0.5
        net = Net(**SMALL) if request.quick else Net()
        folder = paper_bundle(scratch / "paper", slices, organ, net)
        opened = load_bundle(folder, request.device, request.threads)
        advance(1)
    return Subject.of(PAPER_MODEL if not request.quick else "paper, but small", opened, slices[:1], organ)


def _measure(subject: Subject, request: Request, size: Size, found: Findings, scratch: Path, show: Progress) -> None:
    """All contests of a subject, its floors and its profile."""
    rivals = None
    if can_train() and not subject.imported:
        with show.stage(subject.name, "exporting", 1) as advance:
            rivals = open_rivals(subject, scratch, request.device, request.threads, request.peers)
            advance(1)
    contests = [
        *pass_contests(subject, rivals),
        *occlusion_contests(subject, rivals, size.batches, SEED),
    ]
    for contest in contests:
        found.rows += _held(contest, request.repeats, show)
    if subject.imported:
        return
    mine = [row for row in found.rows if row.model == subject.name]
    if subject.bundle.device == "cpu":
        with show.stage(subject.name, "counting", 1) as advance:
            found.peak = max(found.peak, peak_gflops(3 if request.quick else 8))
            found.floors += floors(subject, mine, size.counted, SEED)
            advance(1)
    feeds = {"slices": subject.slices}
    noise = feeds | ({} if subject.told is None else {"logits": subject.told})
    both = feeds | ({"target": subject.target} if subject.bundle.one_pass else {})
    for model, given in (("utility.onnx with Grad-CAM", both), (f"{subject.noise_model}.onnx", noise)):
        nodes = profiled(subject.bundle, model.partition(".")[0], given, min(request.repeats, 5))
        found.nodes[subject.name, model] = nodes


def _held(contest: Contest, repeats: int, show: Progress) -> list[Row]:
    with show.stage(contest.model, contest.what.partition(",")[0], len(contest.entries)) as advance:
        return hold(contest, repeats, advance)


def _apart(shipped: Subject, request: Request, size: Size, found: Findings, show: Progress) -> None:
    subjects = {"real CT" if shipped.imported and request.ct is not None else "phantom": shipped}
    if request.ct is not None and not shipped.imported:
        ct = _only_case(request.ct, shipped.bundle).read().ct
        subjects["real CT"] = fullest_slice(shipped.name, shipped.bundle, ct)
    for name, subject in subjects.items():
        with show.stage(name, "exact map", 1) as advance:
            if not subject.organ.any():
                raise Usage(
                    "the model finds no organ on the slice",
                    "nothing can be occluded",
                    "choose another --bundle or --ct",
                )
            places = size.places if subject.organ.ndim == 2 else QUICK.places
            found.apart.append(adaptive_apart(name, subject, places, SEED, advance))


def _whole(bundle: Bundle, request: Request, size: Size, scratch: Path, show: Progress) -> WholeCT:
    with show.stage("whole CT", "making", 2) as advance:
        if isinstance(bundle.recipe, Preparation) and request.ct is not None:
            source = request.ct
        else:
            side, slices = size.ct
            source = scratch / "ct.nii.gz"
            write_volume(synthesise(SEED, size=side, slices=slices).ct, source)
        advance(1)
        whole = explain_whole(source, scratch, bundle.folder, request.device, request.threads, request.label)
        advance(1)
    return whole


def _write(out: Path, found: Findings) -> None:
    try:
        try:
            draw(out, found.rows, f"{found.machine['processor']}, {found.machine['threads']} threads")
        except MissingExtra as error:
            found.left_out.append(f"benchmark.png: {error}")
        write_json(out / "machine.json", found.machine, replace=True)
        write_csv_files(out, found)
        write(out / "benchmark.md", report(found), replace=True)
    except OSError as error:
        raise cannot_write(out, error) from None

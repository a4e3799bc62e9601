"""`unoise_engine evaluate`: labelled CTs and a model go in; tables, figures and a report come out."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from unoise_engine.errors import CaseRefused, Environment, Usage
from unoise_engine.evaluate.cause import Cause, cause_measures
from unoise_engine.evaluate.curves import Curves
from unoise_engine.evaluate.data import Entry, Scan, find_entries, fingerprint, read_part, read_scan
from unoise_engine.evaluate.equal_distance import RINGS_MM, equal_distance_measures, lost_at_equal_distance
from unoise_engine.evaluate.interval import Estimate
from unoise_engine.evaluate.maps import find_maps, read_map
from unoise_engine.evaluate.report import About, write_report, write_short_report
from unoise_engine.evaluate.sanity import Check, check_maps, check_measures
from unoise_engine.evaluate.segmentation import CaseResult, finds_nothing, judge, summarise
from unoise_engine.evaluate.tables import check_rows, write_csv, write_segmentation, write_tables
from unoise_engine.explanation.baselines import BASELINES
from unoise_engine.explanation.baselines import TITLES as BASELINE_TITLES
from unoise_engine.explanation.hiding import hiding_units, largest_noise
from unoise_engine.explanation.method import Method, longest_s, silent
from unoise_engine.explanation.methods import LEARNT, METHODS, TITLES, answerable, check_answerable, choose, usual
from unoise_engine.explanation.occlusion import Occlusion
from unoise_engine.explanation.part import Part
from unoise_engine.explanation.segment import Prediction, segment
from unoise_engine.explanation.slices import LabelledItem, evenly
from unoise_engine.explanation.target import Target
from unoise_engine.explanation.visibility import How, evaluate_maps
from unoise_engine.files import refuse_earlier, refuse_overlap
from unoise_engine.models.bundles import DEFAULT_BUNDLE, load_bundle
from unoise_engine.models.session import Bundle
from unoise_engine.progress import Progress, Quiet
from unoise_engine.results.case_folder import prepare_output
from unoise_engine.results.shown import Scale
from unoise_engine.volume.contents import slice_hashes
from unoise_engine.volume.write import cannot_write

BLOCK_SHARES, BLOCK_AREAS = (0.05, 0.1, 0.2, 0.5), (1.0, 4.0)  # of blocks, whose passes take long
RANGES = {  # of the whole numbers in a request
    "slices_per_case": (0, 100_000),
    "empty_per_case": (0, 100_000),
    "checks_per_case": (1, 100_000),
    "draws": (1, 1000),
    "panels": (0, 100),
    "seed": (0, 2**63 - 1),
    "resamples": (1, 100_000),
    "threads": (0, 1024),
}
TABLES = ("curves.csv", "summary.csv", "per-patient.csv", "segmentation.csv", "checks.csv")
SHUFFLED = ", own weights shuffled"
NAMES = (*TABLES, "report.md", "curves.png", "curves.svg", "panels-*.png")  # all that is written


@dataclass(frozen=True)
class Request:
    """What is asked. `methods` names methods and baselines; all others are compared with the first."""

    data: tuple[Path, ...]
    out: Path
    bundle: str = ""
    label: str = ""  # of a bundle of several
    split: Path | None = None
    part: str = "test"
    patient: str = ""
    labels: tuple[int, ...] = ()
    slices_per_case: int = 8  # with organ; 0: all
    empty_per_case: int = 2  # without
    checks_per_case: int = 1  # that stability and shuffled weights are tried on
    methods: tuple[str, ...] = ()  # none: the usual ones of the model, of slices occlusion, and all baselines
    maps: tuple[Path, ...] = ()
    landmark: str = ""  # label of what makes the organ the target, where that is known
    decoys: tuple[str, ...] = ()  # labels of what looks the same
    occlusion: Occlusion = field(default_factory=Occlusion)
    draws: int = 2
    figures: bool = True
    panels: int = 1
    seed: int = 0
    resamples: int = 2000
    device: str = "auto"
    threads: int = 0
    command: str = ""
    overwrite: bool = False  # an earlier report of ours in `out`
    anyway: bool = False  # the maps of a model that finds nearly nothing are judged too

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            if not low <= (value := getattr(self, name)) <= high:
                option = f"--{name.replace('_', '-')} {value}"
                raise Usage(option, f"is out of range: {low} to {high}", "correct it")


@dataclass
class Chosen:
    """The items that maps are judged on, slices or blocks, with what was found there, and the maps by name."""

    slices: list[LabelledItem] = field(default_factory=list)
    found: list[np.ndarray] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    causes: list[Cause] = field(default_factory=list)
    bodies: list[np.ndarray] = field(default_factory=list)  # (*s) bool; of no use but to pictures
    maps: dict[str, list[np.ndarray]] = field(default_factory=dict)


def run(request: Request, show: Progress | None = None, more: Mapping[str, Method] | None = None) -> int:
    """Writes everything into `request.out`, made if need be. Returns how many cases were refused (they are told).

    `more` are methods of the caller's own, judged after the request's; stability and shuffled weights leave them out.
    Raises Usage, Environment, Integrity.
    """
    show, more = show or Quiet(), more or {}
    refuse_overlap(request.out, [*request.data, *request.maps])
    refuse_earlier(request.out, NAMES, request.overwrite)
    for name in request.methods:
        if name not in (*METHODS, *BASELINES):
            raise Usage(f"--methods {name}", "unknown method", f"choose from {', '.join((*METHODS, *BASELINES))}")
    if request.decoys and not request.landmark:
        raise Usage("--decoys", "belong to a --landmark", "name it too")
    prepare_output(request.out)
    bundle = load_bundle(request.bundle or DEFAULT_BUNDLE, request.device, request.threads, label=request.label)
    request = _for_model(request, bundle)
    organ = bundle.manifest.chosen or [bundle.manifest.organ]
    keep = read_part(request.split, request.part) if request.split else None
    entries = find_entries(request.data, organ, request.labels, request.patient, keep, request.landmark, request.decoys)
    files = [find_maps(folder, entries) for folder in request.maps]

    chosen, results = _read(request, entries, bundle, files, show)
    if not chosen.slices:
        raise Usage("no slice to judge", "every case was refused, see the lines above", "correct the data")
    overall = summarise(results, request.seed, request.resamples)
    about = About(
        command=request.command,
        seed=request.seed,
        resamples=request.resamples,
        data=tuple(folder.resolve().name for folder in request.data),
        data_hash=fingerprint(entries),
        part=request.part if request.split else "",
        model=bundle.manifest.name,
        model_title=bundle.manifest.title,
        model_hash=bundle.hash,
        warning=bundle.manifest.warning,
        refused=len(entries) - len(results),
        foreign=bool(bundle.manifest.source),
        nothing=finds_nothing(overall),
    )
    if about.nothing:
        print(about.nothing, file=sys.stderr)
        if not request.anyway:
            return _only_segmentation(request, about, chosen, results, overall)
    how = How(draws=request.draws, seed=request.seed, sigma=largest_noise(bundle.manifest))
    if bundle.recipe.rank == 3:
        how = replace(how, shares=BLOCK_SHARES, cuts=BLOCK_SHARES, areas=BLOCK_AREAS, rankings=("image",))
    _tell_time(request, chosen, how, bundle, len(more))
    _explain(request, chosen, bundle, show, more)
    with show.stage("evaluate", "hiding", len(chosen.slices)) as advance:
        answers = evaluate_maps(bundle, chosen.slices, chosen.maps, how, advance)

    checks = _check(request, chosen, bundle, show)
    shuffled = _shuffled_maps(request, chosen, bundle)
    with show.stage("evaluate", "equal distance", len(chosen.slices)) as advance:
        judged = chosen.slices, chosen.found, {**chosen.maps, **shuffled}
        lost = lost_at_equal_distance(bundle, *judged, how, advance)

    curves = Curves(answers, request.seed, request.resamples)
    measures = [*curves.measures(), *check_measures(checks, answers.slices, request.seed, request.resamples)]
    measures += equal_distance_measures(lost, answers.slices, request.seed, request.resamples)
    if request.landmark:
        told = chosen.slices, chosen.causes, chosen.found, chosen.maps
        measures += cause_measures(*told, request.seed, request.resamples)
    known = {**TITLES, **BASELINE_TITLES}
    titles = {name: known.get(name, name) for name in answers.names}
    titles |= {name: f"{known[name.removesuffix(SHUFFLED)]}{SHUFFLED}" for name in shuffled}
    try:
        write_tables(request.out, curves, measures, results, overall)
        write_csv(request.out / "checks.csv", check_rows(checks, answers.slices))
        pictures = _draw(request, bundle, chosen, curves, titles, about, more)
        write_report(request.out / "report.md", about, curves, measures, overall, titles, pictures)
    except OSError as error:
        raise cannot_write(request.out, error) from None
    return about.refused


def _only_segmentation(
    request: Request, about: About, chosen: Chosen, results: list[CaseResult], overall: Mapping[str, Estimate]
) -> int:
    """What is left to report of a model that finds nearly nothing: its maps explain nothing."""
    try:
        write_segmentation(request.out, results, overall)
        write_short_report(request.out / "report.md", about, chosen.slices, overall)
    except OSError as error:
        raise cannot_write(request.out, error) from None
    return about.refused


def _read(
    request: Request,
    entries: Sequence[Entry],
    bundle: Bundle,
    files: Sequence[dict[str, dict[str, Path]]],
    show: Progress,
) -> tuple[Chosen, list[CaseResult]]:
    """Reads and segments every case; returns the items to judge and the segmentations' results."""
    chosen, results = Chosen(), []
    seen: dict[str, str] = {}  # a slice's hash -> the case that shows it
    with show.stage("evaluate", "segmentation", len(entries)) as advance:
        for entry in entries:
            try:
                scan = read_scan(entry, bundle.recipe)
                hashes = slice_hashes(scan.ct)
                if others := sorted({seen[one] for one in hashes if one in seen}):
                    what = f"shows the same CT as case {others[0]}, which is judged already"
                    raise CaseRefused("SAME_CT", entry.pair.ct, what, "leave one of them out")
                parts = _parts(request, scan, bundle)
                read = {name: read_map(f[entry.name], scan, parts) for one in files for name, f in one.items()}
            except CaseRefused as error:
                print(f"CASE {entry.name}: REFUSED {error.code}: {error}", file=sys.stderr)
                show.event("case", case=entry.name, status="REFUSED", code=error.code, message=str(error))
                advance(1)
                continue
            seen |= dict.fromkeys(hashes, entry.name)
            found = segment(bundle, scan.given, bundle.manifest.clean_up)
            results.append(judge(scan, found))
            body = scan.body() if request.figures and request.panels else None
            causes = [scan.mask(numbers) for numbers in (entry.landmark, entry.decoys)]
            for part in parts:
                chosen.slices.append(_item(scan, part, bundle))
                chosen.targets.append(_target(bundle, found, part, chosen.slices[-1]))
                chosen.found.append(chosen.targets[-1].mask[0, 0])
                chosen.causes.append(Cause(*(part.of(mask) for mask in causes)))
                chosen.bodies += [] if body is None else [part.of(body)]
            for name, maps in read.items():
                label = name if name not in request.methods else f"{name} (file)"
                chosen.maps.setdefault(label, []).extend(maps)
            advance(1)
    return chosen, results


def _for_model(request: Request, bundle: Bundle) -> Request:
    """The same with its methods named: those asked for, or of the usual ones those that the model can answer."""
    if not request.methods:
        some = [*usual(answerable(bundle)), *(["occlusion"] if bundle.recipe.rank == 2 else [])]
        return replace(request, methods=tuple(dict.fromkeys((*some, *BASELINES))))
    check_answerable(bundle, choose([n for n in request.methods if n in METHODS]).values())
    return request


def _parts(request: Request, scan: Scan, bundle: Bundle) -> list[Part]:
    """Slices with organ and without; of a model of blocks one window, on the organ that was drawn."""
    if bundle.recipe.rank == 3:
        return [Part.window(bundle, scan.given, scan.organ)] if scan.organ.any() else []
    shows = scan.organ.any(axis=(1, 2))
    some = evenly(np.flatnonzero(shows), request.slices_per_case)
    if request.empty_per_case:
        some = np.sort(np.append(some, evenly(np.flatnonzero(~shows), request.empty_per_case)))
    return [Part.plane(scan.given, int(k)) for k in some]


def _item(scan: Scan, part: Part, bundle: Bundle) -> LabelledItem:
    return LabelledItem(
        case=scan.entry.name,
        patient=scan.entry.patient,
        index=part.index,
        image=(image := part.image),
        organ=part.of(scan.organ),
        side_mm=part.side_mm,
        scale=hiding_units(bundle.manifest, image),
    )


def _target(bundle: Bundle, found: Prediction, part: Part, one: LabelledItem) -> Target:
    """What was found in a slice, after clean-up; of a window its own prediction, which its maps explain."""
    return found.target(part.box[0]) if one.organ.ndim == 2 else Target(bundle.predict(one.image[None]))


def _explain(request: Request, chosen: Chosen, bundle: Bundle, show: Progress, more: Mapping[str, Method]) -> None:
    """Adds every method's and baseline's maps, the methods first, those from files last."""
    maps: dict[str, list[np.ndarray]] = {}
    methods = {**choose([n for n in request.methods if n in METHODS], request.occlusion), **more}
    for name in (*request.methods, *more):
        maps[name] = []
        with show.stage("evaluate", name, len(chosen.slices)) as advance:
            for one, target, found in zip(chosen.slices, chosen.targets, chosen.found):
                if name in methods:
                    maps[name].append(methods[name](bundle, one.image[None], target, advance)[0])
                else:
                    maps[name].append(BASELINES[name](one, found, request.seed))
                    advance(1)
    chosen.maps = {**maps, **chosen.maps}


def _check(request: Request, chosen: Chosen, bundle: Bundle, show: Progress) -> list[Check]:
    at = _checked(request, chosen)
    methods = choose([n for n in request.methods if n in METHODS], request.occlusion)
    with show.stage("evaluate", "checks", len(at)) as advance:
        return check_maps(bundle, chosen.slices, chosen.found, chosen.maps, methods, at, request.seed, advance)


def _shuffled_maps(request: Request, chosen: Chosen, bundle: Bundle) -> dict[str, list[np.ndarray]]:
    """What the learnt maps would be with their own nets' weights shuffled: nothing of it was learnt."""
    if not bundle.manifest.noise_models:
        return {}
    broken = bundle.shuffled((*bundle.manifest.noise_models.values(),), request.seed)
    return {
        f"{name}{SHUFFLED}": [
            method(broken, one.image[None], target, silent)[0] for one, target in zip(chosen.slices, chosen.targets)
        ]
        for name, method in choose([n for n in request.methods if n in METHODS]).items()
        if method.needs in LEARNT
    }


def _checked(request: Request, chosen: Chosen) -> list[int]:
    """The slices that the checks are made on: some of each case, where organ is and is found."""
    good = [s for s, one in enumerate(chosen.slices) if one.organ.any() and chosen.found[s].any()]
    cases = dict.fromkeys(chosen.slices[s].case for s in good)
    some = (np.array([s for s in good if chosen.slices[s].case == case]) for case in cases)
    return [int(s) for mine in some for s in evenly(mine, request.checks_per_case)]


def _tell_time(request: Request, chosen: Chosen, how: How, bundle: Bundle, more: int) -> None:
    one, started = chosen.slices[0], time.perf_counter()
    bundle.predict(one.image[None])
    seconds = time.perf_counter() - started
    maps = len(request.methods) + more + len(chosen.maps)
    at_equal_distance = 2 * len(RINGS_MM) * (1 + how.draws) * maps
    passes = len(chosen.slices) * (how.passes(maps) + at_equal_distance)
    for method in choose([n for n in request.methods if n in METHODS], request.occlusion).values():
        each = longest_s(method, one.organ.shape, seconds) or seconds
        passes += (len(chosen.slices) + 2 * len(_checked(request, chosen))) * round(each / seconds)
    minutes, what = passes * seconds / 60, "slices" if one.organ.ndim == 2 else "blocks"
    print(
        f"{len(chosen.slices)} {what}, {maps} maps each: {passes} images through the model, about "
        f"{f'{minutes:.0f} minutes' if minutes >= 2 else f'{60 * minutes:.0f} seconds'}",
        file=sys.stderr,
    )


def _draw(
    request: Request,
    bundle: Bundle,
    chosen: Chosen,
    curves: Curves,
    titles: dict[str, str],
    about: About,
    more: Mapping[str, Method],
) -> list[str]:
    """The pictures' names; none, and a line, where matplotlib is missing."""
    from unoise_engine.evaluate.figures import draw_curves
    from unoise_engine.evaluate.panels import Panels

    if not request.figures:
        return []
    try:
        names = draw_curves(request.out, curves, titles, about.model_title, about.warning)
        methods = {**choose([n for n in request.methods if n in METHODS]), **more}
        inside = [name for name, method in methods.items() if Scale.of(method, bundle.manifest).in_body]
        bodies = dict.fromkeys(inside, chosen.bodies)
        panels = Panels(bundle, chosen.found, chosen.maps, curves, titles, about.warning, bodies)
        return names + panels.draw_all(request.out, request.panels)
    except Environment as error:
        print(f"no figures: {error}", file=sys.stderr)
        return []

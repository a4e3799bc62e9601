"""`unoise_engine whatif` and the worker's question "whatif": CTs and structures go in; tables, pictures, reports."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from os.path import lexists
from pathlib import Path

from unoise_engine.batch.numbers import assign
from unoise_engine.batch.privacy import hider
from unoise_engine.batch.records import stat_of
from unoise_engine.errors import CaseError, CaseRefused, Usage
from unoise_engine.evaluate.whatif.cohort import TABLE, Cohort
from unoise_engine.evaluate.whatif.effects import PAIRED, WhatIf, what_if
from unoise_engine.evaluate.whatif.fills import FILLS
from unoise_engine.evaluate.whatif.report import as_row, lines, write_answer
from unoise_engine.evaluate.whatif.scene import Scene
from unoise_engine.evaluate.whatif.settings import HideSettings
from unoise_engine.files import exists, refuse_earlier, refuse_overlap, refuse_strangers
from unoise_engine.models.bundles import DEFAULT_BUNDLE, find_bundle, load_bundle
from unoise_engine.models.manifest import MANIFEST
from unoise_engine.models.segmenter import LABELS
from unoise_engine.models.session import Bundle
from unoise_engine.models.settings import ModelSettings
from unoise_engine.progress import Progress, progress
from unoise_engine.results.case_folder import prepare_output
from unoise_engine.volume.box import box
from unoise_engine.volume.case import ReadSettings
from unoise_engine.volume.find import Case, find_cases
from unoise_engine.volume.pairs import find_pairs
from unoise_engine.volume.structures import Structure, find_structures
from unoise_engine.volume.write import cannot_write, write_volume


@dataclass(frozen=True)
class Request:
    """What is asked. `regions` are one for each of the `inputs`, in that order; `cohort` are folders of CTs and label
    maps (volume/pairs.py). `boxes` are hidden too (volume/box.py). With neither it is the model's own other
    labels. Without `out` no results are written: events tell all. `after` is a file for what is found of the only CT
    without the structure whose loss costs most.
    """

    inputs: tuple[Path, ...] = ()
    out: Path | None = None
    after: Path | None = None
    regions: tuple[Path, ...] = ()
    cohort: tuple[Path, ...] = ()
    names: Path | None = None
    only: tuple[str, ...] = ()
    boxes: tuple[str, ...] = ()
    hide: HideSettings = field(default_factory=HideSettings)
    reading: ReadSettings = field(default_factory=ReadSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    picture: bool = True
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not self.inputs and not self.cohort:
            raise Usage("whatif", "is given no CT", "name one, or a folder of pairs with --cohort")
        if self.regions and len(self.regions) != len(self.inputs):
            what = f"is given {len(self.regions)} times for {len(self.inputs)} CTs"
            raise Usage("--region", what, "give one for each CT, in the same order, or --cohort")
        if self.only and not (self.regions or self.cohort):
            raise Usage("--only", "chooses from a --region", "give one")


@dataclass
class Kept:
    """What one question leaves open for the next: the model, and the CT that was asked about last."""

    bundle: Bundle | None = None
    scene: Scene | None = None
    notes: tuple[str, ...] = ()  # on how that CT was read
    _bundle_of: object = None
    _scene_of: object = None

    def opened(self, model: ModelSettings) -> Bundle:
        """Raises Environment, Integrity or Usage."""
        folder = find_bundle(model.bundle or DEFAULT_BUNDLE)
        manifest = folder / MANIFEST
        of = (model, folder, stat_of([manifest]) if manifest.is_file() else None)
        if self.bundle is None or self._bundle_of != of:
            self.scene = self._scene_of = None
            self.bundle = load_bundle(folder, model.device, model.threads, label=model.label)
            self._bundle_of = of
        return self.bundle

    def seen(self, case: Case, request: Request) -> Scene:
        """Raises CaseRefused, ModelFault, Usage."""
        bundle = self.opened(request.model)
        try:
            of: object = (bundle.hash, case.paths, case.part, stat_of(case.paths), request.reading, request.hide.slices)
        except OSError:
            of = None  # reading it says what is wrong
        if self.scene is None or of is None or of != self._scene_of:
            self.scene = None  # before there is the next
            reading = case.read()
            try:
                self.scene = Scene(reading.ct, bundle, request.hide.slices, request.out)
            except CaseRefused as error:
                raise CaseRefused(error.code, case.source, error.what, error.cure) from None
            self.notes, self._scene_of = reading.notes, of
        return self.scene


def run(request: Request, progress_mode: str, kept: Kept | None = None) -> int:
    """Answers for every CT; returns how many were refused or failed, which do not stop the others.

    Raises Usage, Environment or Integrity for what concerns them all.
    """
    show, kept, out = progress(progress_mode), kept or Kept(), request.out
    cohort, refused = Cohort(), 0
    bundle = kept.opened(request.model)
    manifest = bundle.manifest
    modality = getattr(bundle.recipe, "modality", request.reading.modality)
    request = replace(request, reading=replace(request.reading, modality=modality))
    asked = [*_asked(request)]
    if request.after:
        if len(asked) > 1:
            raise Usage(f"--after {request.after}", f"is one file for {len(asked)} CTs", "ask about one CT at a time")
        refuse_overlap(request.after, [*request.inputs, *request.regions])
        if lexists(request.after):
            raise exists(request.after)
    if request.inputs and not request.regions and not request.boxes and LABELS not in bundle.answers:
        raise Usage("whatif", "has nothing to hide, and the model has no other labels", "give --region or --box")
    if out:
        refuse_overlap(out, [*request.inputs, *request.regions, *request.cohort], inside_too=False)
        prepare_output(out)
        refuse_earlier(out, [TABLE], request.overwrite)
    ids = assign([case for case, _ in asked], out) if out else [f"case-{k:04d}" for k in range(1, len(asked) + 1)]
    for folder in (out / name for name in ids) if out else ():
        refuse_strangers(folder)
        if folder.exists() and not request.overwrite:
            raise exists(folder, "add --overwrite, or ")
    for (case, region), name in zip(asked, ids):
        try:
            found, notes = _answer(request, case, region, name, show, kept)
        except CaseError as error:
            refused += 1
            print(f"CASE {name}: {error.status} {error.code}: {error}", file=sys.stderr)
            show.event("case", case=name, status=error.status, **error.facts, message=str(error))
            continue
        cohort.answers[name] = found
        show.event(
            "whatif",
            case=name,
            organ=manifest.organ,
            ml=round(found.ml, 3),
            fill=request.hide.fill,
            effects=[as_row(one) for one in (*found.effects, *found.pairs)],
            notes=notes,
            folder=str(out / name) if out else "",
            warning=manifest.warning,
        )
        if progress_mode != "json":
            said = f"{manifest.organ} {found.ml:.1f} ml with nothing hidden; hidden by {FILLS[request.hide.fill]}"
            print(f"CASE {name}: {said}", *lines(found), *(f"  {note}" for note in notes), sep="\n")
    if len(cohort.answers) > 1:
        if progress_mode != "json":
            print(*cohort.lines(request.hide.seed), sep="\n")
        if out:
            try:
                cohort.write(out, request.hide.seed)
            except OSError as error:
                raise cannot_write(out / TABLE, error) from None
    if cohort.answers and progress_mode != "json":
        print(manifest.warning)
    return refused


def _asked(request: Request) -> Iterator[tuple[Case, Path | None]]:
    """Every CT, and the file or folder of its structures, if there is one. Raises Usage."""
    regions = request.regions or (None,) * len(request.inputs)
    pairs: list[tuple[Path, Path | None]] = [*zip(request.inputs, regions)]
    pairs += [(pair.ct, pair.labels) for folder in request.cohort for pair in find_pairs(folder)]
    for ct, region in pairs:
        cases = find_cases([ct], request.reading)
        if len(cases) > 1:
            raise Usage(ct, f"holds {len(cases)} CTs", "give one of them")
        yield cases[0], region


def _answer(
    request: Request, case: Case, region: Path | None, name: str, show: Progress, kept: Kept
) -> tuple[WhatIf, list[str]]:
    scene = kept.seen(case, request)
    structures, notes = list[Structure](), list(kept.notes)
    if region:
        if not region.exists():
            raise CaseRefused("NOT_FOUND", region, "does not exist", "check the path")
        there = find_structures(region, scene.ct.grid, request.names, request.only)
        structures += there.found
        notes += there.notes
    structures += [box(text, scene.ct.grid) for text in request.boxes]
    if not region and not request.boxes:
        structures = [*scene.labels()]
        if not structures:
            organ = scene.bundle.manifest.organ
            raise CaseRefused("NO_STRUCTURE", case.source, f"shows the model nothing but {organ}", "give --region")
    # What somebody draws over the organ is meant; what a label map has of it is another's opinion of its edge.
    how = replace(request.hide, organ=request.hide.organ or ("hide" if request.boxes and not region else "keep"))
    total = len(structures) + (min(len(structures), PAIRED) * (min(len(structures), PAIRED) - 1) // 2) * how.pairs
    with show.stage(name, "whatif", total) as advance:
        found = what_if(scene, structures, how, advance, keep=request.after is not None)
    hide = hider(case.source, [*case.paths, *([region] if region else [])])
    said = [*(hide(note) for note in notes), *found.notes]
    if request.after and found.after is not None:
        write_volume(scene.ct.with_voxels(found.after), request.after)
    if request.out:
        said += write_answer(request.out / name, found, said, scene, how, request.picture, request.overwrite)
    return found, said

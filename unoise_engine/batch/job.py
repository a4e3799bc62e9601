"""One case from its files to its record, under its lock: the same wherever it runs - here, in a process of its own, or
on another machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from unoise_engine.batch.options import Options
from unoise_engine.batch.privacy import HIDDEN, hider
from unoise_engine.batch.records import (
    RECORD,
    RESULTS_VERSION,
    Inputs,
    Output,
    Record,
    hash_inputs,
    now,
    read_record,
    stat_of,
    sync_folder,
    why_not_done,
    write_record,
)
from unoise_engine.errors import (
    CaseError,
    CaseFailed,
    CaseRefused,
    Environment,
    Integrity,
    ModelFault,
    Usage,
    error_from,
)
from unoise_engine.files import hash_all, new_file, refuse_strangers, tidy
from unoise_engine.lock import held
from unoise_engine.models.session import Bundle
from unoise_engine.progress import Progress
from unoise_engine.results.case_folder import explain_case
from unoise_engine.typed import build, to_table
from unoise_engine.volume.find import find_again
from unoise_engine.volume.write import write_thumbnail

# These stand in every record, whatever their value; a setting that came later only if it is not the usual one. So
# records of earlier versions are still understood.
TOLD = ("organ", "corrections", "notes", "warnings", "seconds", "warning", "verdicts")
ALWAYS = ("format", "fill_gaps", "trust_hu", "patch", "stride")
NEVER = ("view", "crop")  # no result depends on view.html


@dataclass(frozen=True)
class Job:
    """All that a process needs to do one case; it travels as JSON (typed.to_table).

    `options` name the bundle by its folder, and `model` is the hash it must have. `began`: when the run began; what has
    failed since then is not tried again. `alone`: it is the run's only case, so that what is wrong with the options is
    a usage error. `part` and `notes` are the case's own (see volume.case); `refusal` is the `facts` of what was refused
    already when it was looked for.
    """

    case: str
    source: str
    paths: tuple[str, ...]
    out: str
    model: str
    options: Options
    began: str = ""
    alone: bool = False
    part: int = 0
    notes: tuple[str, ...] = ()
    refusal: dict[str, str] | None = None

    @property
    def folder(self) -> Path:
        return Path(self.out, self.case)

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(Path(p) for p in self.paths)

    @property
    def settings(self) -> dict[str, Any]:
        """What a result depends on besides input and model: part of its record."""
        asked = self.options.explanation
        leaves: list[Any] = [self.options.results, self.options.reading]
        methods = asked.chosen
        if "occlusion" in methods:
            leaves.append(methods.pop("occlusion"))
        others = {name: table for name, method in methods.items() if (table := to_table(method))}
        told: dict[str, Any] = {
            "results_version": RESULTS_VERSION,
            "methods": list(asked.methods),
            "slices": list(asked.slices) if asked.slices else None,
        } | ({"focus": True} if asked.focus else {})
        if asked.prove is not None:
            told["prove"] = asked.prove
        for leaf in leaves:
            usual = to_table(type(leaf)())
            told |= {
                key: value
                for key, value in to_table(leaf).items()
                if key not in NEVER and (key in ALWAYS or value != usual[key])
            }
        label = {"label": self.options.model.label} if self.options.model.label else {}
        return told | ({"parameters": others} if others else {}) | label


@dataclass(frozen=True)
class Outcome:
    """How a case ended. `already`: it was found done. `error`: why it was refused or failed, with names, as
    `errors.EngineError.facts`: for the person who asked, not for the record."""

    record: Record
    already: bool = False
    error: dict[str, str] | None = None
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "record": self.record.to_dict()}

    @staticmethod
    def from_dict(body: dict[str, Any]) -> Outcome:
        return Outcome(**{**body, "record": Record.from_dict(body["record"])})


def find_done(job: Job) -> tuple[Outcome | None, str]:
    """The outcome if nothing is left to do, else None and why."""
    record = read_record(job.folder)
    why = why_not_done(record, job.folder, job.model, job.settings, job.files)
    if record is not None and not job.options.batch.overwrite:
        just_failed = record.status == "FAILED" and "" < job.began < record.finished <= now()
        if not why or just_failed:
            return Outcome(record, already=True), ""
    return None, why


def do_case(job: Job, bundle: Bundle, progress: Progress) -> Outcome:
    """Does the case unless its record says that it is done.

    Raises Busy if another process is at it, Environment or Integrity for what concerns every case. A case that is
    refused or fails gets a record that says so; an earlier result of it stays.
    """
    out = Path(job.out)
    if bundle.hash != job.model:
        what = f"is the model {bundle.hash[:16]}..., and this run began with {job.model[:16]}..."
        raise Integrity(bundle.folder, what, "use one model for one run")
    with held(out, job.case):
        clean(out, job.folder)
        done, _ = find_done(job)
        if done:
            return done
        if has_results(job.folder) and not (job.options.batch.overwrite or job.options.batch.resume):
            raise already_there(job.folder)
        try:
            refuse_strangers(job.folder)
        except Environment as error:  # the other cases go on
            record, where = Record(job.case, "REFUSED", job.model, job.settings), Path(error.source)
            within = where.relative_to(out) if where.is_relative_to(out) else where
            return not_done(job, record, CaseRefused("NOT_OURS", within, error.what, error.cure))
        return _do(job, bundle, progress)


def _do(job: Job, bundle: Bundle, progress: Progress) -> Outcome:
    hide = hider_of(job)
    record = Record(job.case, "FAILED", job.model, job.settings)
    inputs: Inputs | None = None
    with suppress(OSError):  # reading the case says what is wrong
        inputs = hash_inputs(job.files)
    record = replace(record, inputs=inputs)
    finished: list[Record] = []

    def finish(partial: Path, report: dict[str, Any]) -> None:
        _refuse_changed(job, inputs)
        if "overview" in report["files"]:
            with new_file(partial / "thumbnail.jpg") as draft:
                write_thumbnail(partial / report["files"]["overview"], draft.path)
        shown = {key: report[key] for key in TOLD}
        outputs = {name: build(Output, one) for name, one in hash_all(partial).items()}
        # Of a run that was stopped between two maps the record knows the finished ones, so --resume does the rest.
        methods = tuple(report["settings"]["methods"])
        cut = replace(job.options, explanation=replace(job.options.explanation, methods=methods))
        settings = replace(job, options=cut).settings
        done = replace(
            record, status=report["status"], settings=settings, outputs=outputs, report=shown, finished=now()
        )
        write_record(done, partial)
        sync_folder(partial)
        finished.append(done)

    try:
        if job.refusal:
            raise error_from(job.refusal)
        asked = job.options
        case = find_again(Path(job.source), job.files, asked.reading, job.part, job.notes)
        case = replace(case, id=job.case)
        explain_case(case, Path(job.out), bundle, asked.explanation, progress, asked.results, True, finish, hide)
        sync_folder(Path(job.out))
        return Outcome(finished[0])
    except ModelFault as error:
        what = f"{error.source}: {error.what}"
        return not_done(job, record, CaseFailed(error.code, job.source, what, error.cure))
    except CaseError as error:
        return not_done(job, record, error)
    except Usage as error:  # --slices beyond this CT
        if job.alone:
            raise
        return not_done(job, record, CaseRefused("SETTINGS", error.source, error.what, error.cure))
    except (Environment, Integrity):
        raise
    except MemoryError:
        cure = "run it alone (--jobs 1), or fewer slices (--slices)"
        return not_done(job, record, CaseFailed("OUT_OF_MEMORY", job.source, "memory was exhausted", cure))
    except Exception as error:
        if os.environ.get("UNOISE_DEBUG"):
            raise
        what, cure = f"internal error ({type(error).__name__})", "run it alone with --debug and report it"
        return not_done(job, record, CaseFailed("INTERNAL", job.source, what, cure))


def not_done(job: Job, record: Record, error: CaseError) -> Outcome:
    """Records a refusal or failure, unless an earlier result stands there."""
    message = hider_of(job)(" ".join(str(error).split())).removeprefix(f"{HIDDEN} - ")
    record = replace(record, status=error.status, code=error.code, message=message, finished=now())
    if not has_results(job.folder):
        job.folder.mkdir(exist_ok=True)
        write_record(record, job.folder)
    return Outcome(record, error=error.facts)


def hider_of(job: Job) -> Callable[[str], str]:
    """Sentences of the finding name files beside the case's own."""
    files = set(job.files)
    if job.notes or not files:
        for folder in {Path(job.source), *(path.parent for path in job.files)}:
            with suppress(OSError):
                files |= set(folder.iterdir())
    return hider(Path(job.source), files)


def has_results(folder: Path) -> bool:
    """Whether a folder holds anything besides the record of a case that was refused or failed."""
    try:
        return any(name != RECORD and not name.startswith(".") for name in os.listdir(folder))
    except FileNotFoundError:
        return False


def already_there(folder: Path) -> Environment:
    cure = (
        "add --resume to do what is not done yet, --overwrite to do everything again, or choose another output folder"
    )
    return Environment(folder, "exists already", cure)


def clean(*folders: Path) -> None:
    """What killed runs left of cases, records and books in these folders goes."""
    for folder in folders:
        with suppress(FileNotFoundError):
            tidy(folder)


def _refuse_changed(job: Job, inputs: Inputs | None) -> None:
    try:
        same = inputs is not None and stat_of(job.files)[0] == inputs.stat
    except OSError:
        same = False
    if not same:
        cure = "run it again when nobody writes to it any more"
        raise CaseRefused("CHANGED", job.source, "changed while it was explained", cure)

"""Explaining many inputs in one go: one line a case, one summary, whatever fails."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO, TypeVar
from uuid import uuid4

from unoise_engine.batch.adopt import adopt
from unoise_engine.batch.cluster import on_cluster
from unoise_engine.batch.isolate import Children
from unoise_engine.batch.job import Job, Outcome, already_there, clean, do_case, find_done, has_results
from unoise_engine.batch.ledger import LEDGER, Ledger
from unoise_engine.batch.local import one_after_the_other, side_by_side
from unoise_engine.batch.messages import MESSAGES, keep
from unoise_engine.batch.numbers import TABLE, assign
from unoise_engine.batch.options import Options
from unoise_engine.batch.records import EXPLAINED, STATUSES, Record, now, read_record
from unoise_engine.batch.summary import FILES as SUMMARY
from unoise_engine.batch.summary import write_summary
from unoise_engine.child import debugging, usable_cores
from unoise_engine.errors import CaseRefused, EngineError, Environment, Integrity, Signalled, printable
from unoise_engine.files import refuse_overlap, refuse_strangers
from unoise_engine.lock import any_held, held
from unoise_engine.models.bundles import DEFAULT_BUNDLE, find_bundle, load_bundle
from unoise_engine.models.given import modality_of
from unoise_engine.models.manifest import read_manifest
from unoise_engine.models.session import Bundle
from unoise_engine.progress import Progress, Relay, progress, said_time
from unoise_engine.results.case_folder import prepare_output
from unoise_engine.volume.find import Case, find_cases
from unoise_engine.volume.search import say
from unoise_engine.volume.write import cannot_write

log = logging.getLogger("unoise_engine")
Broken = TypeVar("Broken", bound=BaseException)


@dataclass(frozen=True)
class Request:
    """What `unoise_engine explain` was asked: files and folders to look for CTs in, where results go, and how."""

    inputs: tuple[Path, ...]
    out: Path
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        if not self.inputs:
            raise ValueError("inputs must name a file or folder")


def explain_all(request: Request, progress_mode: str, isolate: bool = False) -> int:
    """Explains every case, one line each, and returns how many were refused or failed. They do not stop the others.

    With `isolate` each case runs in a process of its own; without it everything runs in this one.
    Raises Usage, Environment or Integrity for what concerns the whole run.
    """
    began = now()
    refuse_overlap(request.out, request.inputs, inside_too=False)
    model, batch = request.options.model, request.options.batch
    show, apart = progress(progress_mode), isolate and not batch.cluster
    skipped: list[str] = []

    def skip(sentence: str, names: str) -> None:
        said = sentence if not batch.keep_names else f"{sentence} {names}"
        print(said, file=sys.stderr)
        log.info(said)
        show.event("skipped", message=f"{sentence} {names}")
        skipped.append(f"{sentence} {names}")

    def watch(files: int, waits: float) -> None:
        say(files, waits)
        show.event("searching", files=files, waits=round(waits, 1))

    with Children(debugging()) as children, ExitStack() as at_work:
        if apart:
            children.prepare()
        request = _as_the_model_reads(request)
        cases = find_cases(list(request.inputs), request.options.reading, skip, watch)
        several = len(cases) > 1 or bool(batch.cluster)
        workers = min(batch.jobs or usable_cores(), len(cases))
        bundle = load_bundle(model.bundle or DEFAULT_BUNDLE, model.device, model.threads, label=model.label)
        prepare_output(request.out)
        try:
            adopt(request.out)
        except OSError as error:
            raise cannot_write(request.out, error) from None
        threads = model.threads or (max(1, usable_cores() // workers) if apart and several else 0)
        for name in (LEDGER, *SUMMARY, MESSAGES):
            refuse_strangers(request.out / name)
        run = _Run(request, show, progress_mode, len(cases), bundle.manifest.warning)
        at_work.enter_context(held(request.out, lock := f"run-{uuid4().hex}"))  # so that others know
        try:
            clean(request.out, (request.out / TABLE).parent)
            jobs = _jobs(request, cases, bundle, threads, began, lock)
            for sentence in skipped:
                keep(request.out, sentence)
            relay = Relay(show)
            if batch.cluster:
                outcomes = on_cluster(jobs, batch.cluster)
            elif apart:

                def tell(event: dict[str, Any]) -> None:
                    if event["event"] == "estimate":
                        relay.close()
                        run.estimate(event)
                    elif several:
                        show.event("progress", **_facts(event))
                    else:
                        relay(event)

                outcomes = side_by_side(jobs, workers, tell, children)
            else:
                outcomes = one_after_the_other(jobs, lambda job: do_case(job, bundle, show))
            silent: Callable[[bool], None] = lambda worked: None  # noqa: E731 - typed so
            bar = show.cases(len(cases)) if several and isolate else nullcontext(silent)
            source = {job.case: job.source for job in jobs}
            try:
                with closing(outcomes), closing(relay), bar as advance:
                    for outcome in outcomes:
                        relay.close()  # a line, and no bar that it would run into
                        run.note(outcome)
                        run.tell(outcome, source[outcome.record.case])
                        advance(not outcome.already)
            finally:
                clean(request.out, (request.out / TABLE).parent)  # processes that were ended leave halves
                run.end(jobs)
        except OSError as error:
            raise run.how_far(cannot_write(request.out, error)) from None
        except (Environment, Integrity, Signalled) as error:
            raise run.how_far(error) from None
    return run.count["REFUSED"] + run.count["FAILED"]


def _as_the_model_reads(request: Request) -> Request:
    """Images of another kind than CT are no Hounsfield units: told before they are looked for."""
    with suppress(EngineError):  # what is wrong with the bundle is said when it is opened
        recipe = read_manifest(find_bundle(request.options.model.bundle or DEFAULT_BUNDLE)).recipe
        reading = replace(request.options.reading, modality=modality_of(recipe))
        return replace(request, options=replace(request.options, reading=reading))
    return request


class _Run:
    """What is told of a run while it lasts and when it ends, however it ends."""

    def __init__(self, request: Request, show: Progress, progress_mode: str, cases: int, warning: str):
        self.request, self.show, self.cases, self.warning = request, show, cases, warning
        self.for_people = progress_mode != "json"
        self.ledger, self.count = Ledger(request.out), Counter[str]()
        self.noted: set[str] = set()
        self.estimated: set[str] = set()
        self.already = self.doubted = self.empty = 0

    def note(self, outcome: Outcome) -> None:
        self.ledger.add(outcome.record)
        self.count[outcome.record.status] += 1
        self.noted.add(outcome.record.case)
        report = outcome.record.report
        self.already += outcome.already
        self.doubted += bool(report.get("warnings"))
        self.empty += not report.get("organ", {"found": True})["found"]

    def estimate(self, event: dict[str, Any]) -> None:
        """Before a method that takes long: for people once a run."""
        self.show.event("estimate", **_facts(event))
        if self.for_people and event["stage"] not in self.estimated:
            self.estimated.add(event["stage"])
            slices, time = event["slices"], said_time(event["seconds"])
            said = f"{event['title']} on {slices} slices: up to {time} (h:m:s), often less; Ctrl-C keeps what is there"
            print(said, file=sys.stderr)

    def tell(self, outcome: Outcome, source: str) -> None:
        record, folder = outcome.record, self.request.out / outcome.record.case
        if record.status not in EXPLAINED:
            self._tell_of_refusal(outcome, source)
            return
        organ = record.report["organ"]
        doubts = record.report.get("warnings", [])
        self.show.event(
            "case", case=record.case, status=record.status, folder=str(folder), organ=organ, warnings=doubts
        )
        if not (outcome.already and self.cases > 1):
            self.say(*_case_lines(record, folder, outcome.already))

    def _tell_of_refusal(self, outcome: Outcome, source: str) -> None:
        record, before = outcome.record, " (found before)" if outcome.already else ""
        facts = outcome.error or {"code": record.code, "source": source, "what": record.message + before, "cure": ""}
        full = printable(" - ".join(facts[part] for part in ("source", "what", "cure") if facts[part]))
        head = f"CASE {record.case}: {record.status} {record.code}: "
        said = full if self.request.options.batch.keep_names else printable(record.message) + before
        self.say(head + said, file=sys.stderr)
        self.show.event("case", case=record.case, status=record.status, **facts, message=full)
        if outcome.error:
            keep(self.request.out, head + full)

    def end(self, jobs: list[Job]) -> None:
        for job in jobs if len(self.noted) < self.cases else ():  # what was done, but not told before it was stopped
            if job.case not in self.noted and (outcome := find_done(job)[0]):
                self.note(replace(outcome, already=False))
        done = self.count.total()
        if done:
            write_summary(self.request.out, self.warning)
        if self.cases > 1:
            parts = " + ".join(f"{self.count[s]} {s.lower()}" for s in STATUSES)
            rest = f" + {self.cases - done} not done" if done < self.cases else ""
            before = f" ({self.already} done before)" if self.already else ""
            self.say(f"{self.cases} inputs = {parts}{rest}{before}")
        if self.count["REFUSED"] + self.count["FAILED"] and (self.request.out / MESSAGES).is_file():
            self.say(f"which files: {self.request.out / MESSAGES}")
        if self.count["OK"] + self.count["CORRECTED"]:
            self.say(self.warning)
        if (summary := self.request.out / SUMMARY[1]).is_file() and self.cases > 1:
            self.say(f"{self.doubted} with warnings, {self.empty} without the organ - look at {summary}")

    def say(self, *lines: str, file: TextIO | None = None) -> None:
        """To people, and to the log if there is one."""
        for line in lines:
            if self.for_people or file:
                print(line, file=file or sys.stdout)
            log.info(line)

    def how_far(self, error: Broken) -> Broken:
        """The same error, which says what is done and how to go on."""
        done, cure = f"{self.count.total()} of {self.cases} cases are done", "go on with --resume"
        if self.cases == 1 and self.count.total():
            done = "the maps that were finished are kept"
        elif self.cases == 1:
            done, cure = "nothing of it is kept", "run it again"
        if isinstance(error, Signalled):
            error.what, error.cure = done, cure
        elif isinstance(error, EngineError) and self.cases > 1 and self.count.total():
            error.cure += f"; {done}: {cure}"
        return error


def _jobs(request: Request, cases: list[Case], bundle: Bundle, threads: int, began: str, lock: str) -> list[Job]:
    """What is to be done for each case. Raises Environment if results stand there that nobody said what to do with.

    What another run that works here now, or did since this one `began`, has finished is shared. `lock` is this run's.
    """
    out, batch = request.out.resolve(), request.options.batch
    model = replace(request.options.model, bundle=str(bundle.folder.resolve()), threads=threads)
    options = replace(request.options, model=model, explanation=request.options.explanation.for_model(bundle))
    jobs = [
        Job(
            case=name,
            source=str(case.source.absolute()),
            paths=tuple(str(path.absolute()) for path in case.paths),
            out=str(out),
            model=bundle.hash,
            options=options,
            began=began,
            alone=len(cases) == 1,
            part=case.part,
            notes=case.notes,
            refusal=_refusal(case),
        )
        for case, name in zip(cases, assign(cases, out, batch.keep_names))
    ]
    for folder in (job.folder for job in jobs):
        if batch.overwrite or read_record(folder) is None:
            refuse_strangers(folder, contents=False)
    old = [job for job in jobs if has_results(job.folder) and not _since(began, job.folder)]
    joined = any_held(out, but=lock)  # asked for after `old`: a run that ends in between has finished something
    if old and not (batch.overwrite or batch.resume or joined):
        raise already_there(request.out / old[0].case)
    return jobs


def _since(began: str, folder: Path) -> bool:
    record = read_record(folder)
    return record is not None and began < record.finished <= now()


def _refusal(case: Case) -> dict[str, str] | None:
    """`EngineError.facts`, for what was refused already when it was looked for: it has no files to read again."""
    if not case.paths:
        try:
            case.read()
        except CaseRefused as error:
            return error.facts
    return None


def _facts(message: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in message.items() if key != "event"}


def _case_lines(record: Record, folder: Path, already: bool) -> Iterator[str]:
    organ, seconds = record.report["organ"], record.report["seconds"]
    size = f"{organ['name']} {organ['volume_ml']:.1f} ml" if organ["found"] else f"no {organ['name']} found"
    stages = [name for name in ("segmentation", *record.settings["methods"]) if not already]
    times = ", ".join(f"{name} {seconds[name]:.1f} s" for name in stages) or "done before"
    yield f"CASE {record.case}: {record.status} - {size} - {times} - {folder}"
    for doubt in record.report.get("warnings", []):
        yield f"  WARNING: {doubt}"
    for note in (*record.report["corrections"], *record.report["notes"], *record.report.get("verdicts", ())):
        yield f"  {note}"

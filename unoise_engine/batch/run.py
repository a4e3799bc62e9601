"""Explaining many inputs in one go: one line a case, one summary, whatever fails."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from unoise_engine.batch.cluster import on_cluster
from unoise_engine.batch.isolate import debugging, usable_cores
from unoise_engine.batch.job import Job, Outcome, already_there, do_case, has_results, sweep
from unoise_engine.batch.ledger import LEDGER, Ledger
from unoise_engine.batch.local import one_after_the_other, side_by_side
from unoise_engine.batch.numbers import assign
from unoise_engine.batch.options import Options
from unoise_engine.batch.records import Record, now, read_record
from unoise_engine.batch.summary import FILES as SUMMARY
from unoise_engine.batch.summary import write_summary
from unoise_engine.errors import CaseRefused, printable
from unoise_engine.files import refuse_overlap, refuse_strangers
from unoise_engine.lock import any_held
from unoise_engine.models.session import DEFAULT_BUNDLE, Bundle, load_bundle
from unoise_engine.progress import Progress, progress
from unoise_engine.results.case_folder import prepare_output
from unoise_engine.volume.find import Case, find_cases
from unoise_engine.volume.write import cannot_write


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

    With `isolate` several cases run in processes of their own; without it everything runs in this one.
    Raises Usage, Environment or Integrity for what concerns the whole run.
    """
    refuse_overlap(request.out, request.inputs, inside_too=False)
    model, batch = request.options.model, request.options.batch
    show, ledger, count = progress(progress_mode), Ledger(request.out), Counter[str]()

    def skipped(sentence: str) -> None:
        print(sentence, file=sys.stderr)
        show.event("skipped", message=sentence)

    cases = find_cases(list(request.inputs), request.options.reading, skipped)
    cores = usable_cores()
    workers = min(batch.jobs or cores, len(cases))
    bundle = load_bundle(model.bundle or DEFAULT_BUNDLE, model.device, model.threads)
    prepare_output(request.out)
    apart = isolate and (len(cases) > 1 or bool(batch.cluster))
    threads = model.threads or (max(1, cores // workers) if apart and not batch.cluster else 0)
    for name in (LEDGER, *SUMMARY):
        refuse_strangers(request.out / name)
    try:
        sweep(request.out)
        jobs = _jobs(request, cases, bundle, threads)
        source = {job.case: job.source for job in jobs}
        if batch.cluster:
            outcomes = on_cluster(jobs, batch.cluster)
        elif apart:
            outcomes = side_by_side(jobs, workers, lambda m: show.event("progress", **_facts(m)), debugging())
        else:
            outcomes = one_after_the_other(jobs, lambda job: do_case(job, bundle, show))
        bar = show.stage("", "cases", len(cases)) if apart else nullcontext(lambda amount: None)
        try:
            with closing(outcomes), bar as advance:
                for outcome in outcomes:
                    ledger.add(outcome.record)
                    count[outcome.record.status] += 1
                    _tell(outcome, source[outcome.record.case], request, show, progress_mode)
                    advance(1)
        finally:
            sweep(request.out)  # processes that were ended leave halves
        write_summary(request.out, bundle.manifest.warning)
    except OSError as error:
        raise cannot_write(request.out, error) from None
    if progress_mode != "json":
        _print_end(count, len(cases), bundle.manifest.warning)
    return count["REFUSED"] + count["FAILED"]


def _jobs(request: Request, cases: list[Case], bundle: Bundle, threads: int) -> list[Job]:
    """What is to be done for each case. Raises Environment if results stand there that nobody said what to do with."""
    out, began, batch = request.out.resolve(), now(), request.options.batch
    model = replace(request.options.model, bundle=str(bundle.folder.resolve()), threads=threads)
    options = replace(request.options, model=model, explanation=request.options.explanation.for_model(bundle))
    joined = any_held(out)  # another run is at work here: share the cases with it
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
    if not (batch.overwrite or batch.resume or joined) and (old := [j for j in jobs if has_results(j.folder)]):
        raise already_there(request.out / old[0].case)
    return jobs


def _refusal(case: Case) -> dict[str, str] | None:
    """`EngineError.facts`, for what was refused already when it was looked for: it has no files to read again."""
    if not case.paths:
        try:
            case.read()
        except CaseRefused as error:
            return error.facts
    return None


def _tell(outcome: Outcome, source: str, request: Request, show: Progress, progress_mode: str) -> None:
    record, folder = outcome.record, request.out / outcome.record.case
    if record.status in ("REFUSED", "FAILED"):
        found_before = {"source": source, "what": f"{record.message} (found before)", "cure": ""}
        facts = outcome.error or {"code": record.code, **found_before}
        said = printable(" - ".join(facts[part] for part in found_before if facts[part]))
        print(f"CASE {record.case}: {record.status} {record.code}: {said}", file=sys.stderr)
        show.event("case", case=record.case, status=record.status, **facts, message=said)
        return
    organ = record.report["organ"]
    doubts = record.report.get("warnings", [])
    show.event("case", case=record.case, status=record.status, folder=str(folder), organ=organ, warnings=doubts)
    if progress_mode != "json":
        _print_case(record, folder, outcome.already)


def _facts(message: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in message.items() if key != "event"}


def _print_case(record: Record, folder: Path, already: bool) -> None:
    organ, seconds = record.report["organ"], record.report["seconds"]
    size = f"{organ['name']} {organ['volume_ml']:.1f} ml" if organ["found"] else f"no {organ['name']} found"
    times = ", ".join(f"{name} {seconds[name]:.1f} s" for name in ("segmentation", *record.settings["methods"]))
    print(f"CASE {record.case}: {record.status} - {size} - {'done before' if already else times} - {folder}")
    for doubt in record.report.get("warnings", []):
        print(f"  WARNING: {doubt}")
    for note in (*record.report["corrections"], *record.report["notes"]):
        print(f"  {note}")


def _print_end(count: Counter[str], inputs: int, warning: str) -> None:
    if inputs > 1:
        parts = " + ".join(f"{count[s]} {s.lower()}" for s in ("OK", "CORRECTED", "REFUSED", "FAILED"))
        print(f"{inputs} inputs = {parts}")
    if count["OK"] + count["CORRECTED"]:
        print(warning)

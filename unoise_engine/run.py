"""Explaining many inputs in one go, and what every entry point shares: one line a failure, one exit code.

Exit codes: 0 all done; 1 some cases refused or failed; 2 usage, or nothing to read; 3 environment (output not
writable, disk full, no model); 4 integrity (manifest, hash); 130 / 143 interrupted.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unoise_engine.errors import CaseRefused, EngineError, Environment, Interrupted


@dataclass(frozen=True)
class Request:
    """What `unoise_engine explain` was asked. `slices` counts axial slices from the feet, the last one excluded."""

    inputs: tuple[Path, ...]
    out: Path
    methods: tuple[str, ...] = ()  # every method
    bundle: str = ""  # the default bundle
    device: str = "auto"
    file_format: str = "nifti"
    slices: tuple[int, int] | None = None
    patch: int = 15
    stride: int = 8
    overwrite: bool = False
    threads: int = 0
    de_identify: bool = False


def explain_all(request: Request, progress_mode: str) -> int:
    """Explains every case, one line each, and returns how many were refused. A refused case does not stop the others.

    Raises Usage, Environment or Integrity for what concerns the whole run.
    """
    from unoise_engine.bundle.session import DEFAULT_BUNDLE, load_bundle
    from unoise_engine.ct.find import find_cases
    from unoise_engine.methods import METHODS
    from unoise_engine.methods.occlusion import Occlusion
    from unoise_engine.pipeline import Settings
    from unoise_engine.progress import progress
    from unoise_engine.results import check_format, explain_case, prepare_output

    settings = Settings(request.methods or tuple(METHODS), request.slices, Occlusion(request.patch, request.stride))
    check_format(request.file_format, request.de_identify)
    cases = find_cases(list(request.inputs))
    bundle = load_bundle(request.bundle or DEFAULT_BUNDLE, request.device, request.threads)
    out, show, refused = request.out, progress(progress_mode), 0
    prepare_output(out)
    if not request.overwrite and (old := [c.id for c in cases if (out / c.id).exists()]):
        raise Environment(f"{out / old[0]} - exists already - add --overwrite, or choose another output folder")
    for case in cases:
        try:
            report = explain_case(
                case, out, bundle, settings, show, request.file_format, request.overwrite, request.de_identify
            )
        except CaseRefused as error:
            refused += 1
            print(f"CASE {case.id}: REFUSED {error.code}: {error}", file=sys.stderr)
            show.event("case", case=case.id, status="REFUSED", code=error.code, message=str(error))
            continue
        show.event("case", case=case.id, status=report["status"], folder=str(out / case.id), organ=report["organ"])
        if progress_mode != "json":
            _print_case(report, out / case.id)
    if progress_mode != "json" and refused < len(cases):
        print(bundle.manifest.warning)
    return refused


def guarded(work: Callable[[], Any], json_lines: bool, debug: bool) -> int:
    """Runs `work` and returns its exit code; any failure becomes one line on standard error (and, for programs, one
    JSON line on standard output). With `debug` the traceback is shown instead."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        code = work()
    except BaseException as error:
        if debug:
            raise
        return _say(error, json_lines)
    return code if isinstance(code, int) else 0


class _Terminated(Exception):
    """SIGTERM: unwinds like any error, so that temporary files go."""


def _terminated(*_: object) -> None:
    raise _Terminated


def _say(error: BaseException, json_lines: bool) -> int:
    code, name, message = 1, type(error).__name__, str(error)
    if isinstance(error, CaseRefused):
        name, message = error.code, f"REFUSED {error.code}: {error}"
    elif isinstance(error, Interrupted):
        code, message = error.exit_code, f"interrupted - {error}"
    elif isinstance(error, EngineError):
        code = error.exit_code
    elif isinstance(error, KeyboardInterrupt) or name == "Abort":  # click turns Ctrl-C into Abort
        code, message = 130, "interrupted - nothing half-written was left"
    elif isinstance(error, _Terminated):
        code, message = 143, "terminated - nothing half-written was left"
    elif isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 0
    elif hasattr(error, "format_message"):  # click's own complaints about the command line
        code, message = 2, f"{error.format_message()} - see unoise_engine --help"
    elif isinstance(error, MemoryError):
        code, message = 3, "out of memory - close other programs, or explain fewer slices with --slices"
    else:
        message = f"internal error ({name}: {message}) - run again with --debug and report it"
    if json_lines:
        from unoise_engine.progress import JsonLines

        JsonLines().event("error", code=name, message=message)
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code


def _print_case(report: dict[str, Any], folder: Path) -> None:
    organ, seconds = report["organ"], report["seconds"]
    size = f"{organ['name']} {organ['volume_ml']:.1f} ml" if organ["found"] else f"no {organ['name']} found"
    times = ", ".join(f"{name} {seconds[name]:.1f} s" for name in ("segmentation", *report["settings"]["methods"]))
    print(f"CASE {report['case']}: {report['status']} - {size} - {times} - {folder}")
    for note in (*report["corrections"], *report["notes"]):
        print(f"  {note}")

"""What every entry point shares: one line a failure, one exit code.

Exit codes: 0 all done; 1 some cases refused or failed; 2 usage, or nothing to read; 3 environment (output not
writable, disk full, no model); 4 integrity (manifest, hash); 130 / 143 interrupted.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from unoise_engine.errors import CaseRefused, EngineError, Interrupted, printable
from unoise_engine.progress import JsonLines

TRAINING_PACKAGES = {"torch", "lightning", "tensorboard", "onnx", "onnxscript", "safetensors"}


def guarded(work: Callable[[], Any], json_lines: bool, debug: bool) -> int:
    """Runs `work` and returns its exit code; any failure becomes one line on standard error (and, for programs, one
    JSON line on standard output). With `debug` the traceback is shown instead."""
    signal.signal(signal.SIGTERM, _terminated)
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal's encoding lacks is spelt, and ends no run
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if debug:
        os.environ["UNOISE_DEBUG"] = "1"
    try:
        code = work()
    except BaseException as error:
        if debug:
            raise
        return _say(error, json_lines)
    if code == 130:  # the command-line package has already turned Ctrl-C into a code
        return _say(KeyboardInterrupt(), json_lines)
    return code if isinstance(code, int) else 0


class _Terminated(BaseException):
    """SIGTERM: unwinds like Ctrl-C, so that temporary files and child processes go."""


def _terminated(*_: object) -> None:
    raise _Terminated


def _say(error: BaseException, json_lines: bool) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 0
    exit_code, facts = _told(error)
    message = " - ".join(part for part in (facts["source"], facts["what"], facts["cure"]) if part)
    if isinstance(error, CaseRefused):
        message = f"REFUSED {error.code}: {message}"
    elif isinstance(error, Interrupted):
        message = f"interrupted - {message}"
    message = printable(" ".join(message.split()))
    if json_lines:
        JsonLines().event("error", **facts, message=message)
    print(f"error: {message}", file=sys.stderr)
    return exit_code


def _told(error: BaseException) -> tuple[int, dict[str, str]]:
    """The exit code, and the failure as `EngineError.facts` has it."""
    if isinstance(error, EngineError):
        return error.exit_code, error.facts
    name = type(error).__name__
    if isinstance(error, KeyboardInterrupt) or name == "Abort":  # click turns Ctrl-C into Abort
        code, parts = 130, ("interrupted", "nothing half-written was left", "")
    elif isinstance(error, _Terminated):
        code, parts = 143, ("terminated", "nothing half-written was left", "")
    elif hasattr(error, "format_message"):  # click's own complaints about the command line
        code, parts = 2, ("", error.format_message(), "see unoise_engine --help")
    elif isinstance(error, MemoryError):
        code, parts = 3, ("", "out of memory", "close other programs, or explain fewer slices with --slices")
    elif isinstance(error, ModuleNotFoundError):
        extra = "[train]" if error.name in TRAINING_PACKAGES else ""
        code, parts = 3, (str(error), "a package is missing", f"run: pip install 'unoise-engine{extra}'")
    else:
        code, parts = 1, ("", f"internal error ({name}: {error})", "run again with --debug and report it")
    return code, {"code": name, **dict(zip(("source", "what", "cure"), parts))}

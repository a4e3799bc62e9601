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
    elif isinstance(error, ModuleNotFoundError):
        wanted = "unoise-engine[train]" if error.name in TRAINING_PACKAGES else "unoise-engine"
        code, message = 3, f"{message} - a package is missing - run: pip install '{wanted}'"
    else:
        message = f"internal error ({name}: {message}) - run again with --debug and report it"
    if json_lines:
        from unoise_engine.progress import JsonLines

        JsonLines().event("error", code=name, message=message)
    print(f"error: {printable(' '.join(message.split()))}", file=sys.stderr)
    return code

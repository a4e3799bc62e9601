"""What every entry point shares: one line a failure, one exit code.

Exit codes: 0 all done; 1 some cases refused or failed; 2 usage, or nothing to read; 3 environment (output not
writable, disk full, no model); 4 integrity (manifest, hash); 130 / 143 interrupted; 141 nobody
reads standard output any more.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from unoise_engine.cli.streams import NobodyReads, own_streams
from unoise_engine.errors import CaseRefused, EngineError, Interrupted, Signalled, install_line, printable
from unoise_engine.progress import JsonLines

LOG = logging.getLogger("unoise_engine")

TRAINING_PACKAGES = {"torch", "lightning", "tensorboard", "onnx", "onnxscript", "safetensors"}
NOBODY_READS = 141  # as shells have it for a program that SIGPIPE ended
AGAIN_SECONDS = 1.0  # a terminal and a shell may both pass one Ctrl-C on; it must not disturb the tidying up
SIGNALS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "hung up"}  # Windows has no SIGHUP


def guarded(work: Callable[[], Any], json_lines: bool, debug: bool) -> int:
    """Runs `work` and returns its exit code; any failure becomes one line on standard error (and, for programs, one
    JSON line on standard output). With `debug` the traceback is shown instead."""
    if debug:
        os.environ["UNOISE_DEBUG"] = "1"
    with own_streams(), _own_signals():
        try:
            code = work()
            sys.stdout.flush()
        except NobodyReads:
            return NOBODY_READS
        except BaseException as error:
            if debug:
                raise
            return say(error, json_lines)
    return code if isinstance(code, int) else 0


@contextmanager
def _own_signals() -> Iterator[None]:
    """Meanwhile signals unwind the work, so that temporary files and child processes go. One that the caller has us
    ignore, as `nohup` and a shell's `&` do, stays ignored."""
    last = -AGAIN_SECONDS

    def unwind(number: int, _: object) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= AGAIN_SECONDS:
            last = now
            raise Signalled(number, SIGNALS[signal.Signals(number).name])

    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    before = {n: handler for n in numbers if (handler := signal.getsignal(n)) not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, unwind)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def say(error: BaseException, json_lines: bool) -> int:
    """The one line, and the exit code that belongs to it."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 0
    if type(error).__name__ == "NoArgsIsHelpError":  # the help is all there is to say
        print(error.format_message())  # type: ignore[attr-defined]
        return 2
    exit_code, facts = _told(error)
    message = " - ".join(part for part in (facts["source"], facts["what"], facts["cure"]) if part)
    if isinstance(error, CaseRefused):
        message = f"REFUSED {error.code}: {message}"
    elif isinstance(error, Interrupted):
        message = f"interrupted - {message}"
    message = printable(" ".join(message.split()))
    LOG.info("exit code %s: %s", exit_code, " - ".join(filter(None, (facts["what"], facts["cure"]))))  # no names
    with suppress(NobodyReads, EngineError):
        if json_lines:
            JsonLines().event("error", **facts, message=message)
    with suppress(NobodyReads, EngineError):
        print(f"error: {message}", file=sys.stderr)
    return exit_code


def _told(error: BaseException) -> tuple[int, dict[str, str]]:
    """The exit code, and the failure as `EngineError.facts` has it."""
    if isinstance(error, EngineError | Signalled):
        return error.exit_code, error.facts
    name = type(error).__name__
    if hasattr(error, "format_message"):  # click's own complaints about the command line
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "unoise_engine"
        code, parts = 2, ("", error.format_message().rstrip("."), f"see {where} --help")
    elif isinstance(error, MemoryError):
        code, parts = 3, ("", "out of memory", "close other programs, or explain fewer slices with --slices")
    elif isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        line = install_line("train" if package in TRAINING_PACKAGES else "", package)
        code, parts = 3, (str(error), "a package is missing", f"run: {line}")
    else:
        code, parts = 1, ("", f"internal error ({name}: {error})", "run again with --debug and report it")
    return code, {"code": name, **dict(zip(("source", "what", "cure"), parts))}

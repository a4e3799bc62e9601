"""Sending DICOM results to an archive, by C-STORE or STOW-RS (extra: dicom).

An object counts as sent only when the archive answers success. Every outcome is a line in OUT/send.jsonl; the next call
sends what has no success there yet, so nothing is lost to a crash or a closed connection, and nothing is sent twice.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from unoise_engine.errors import Environment, MissingExtra, Usage
from unoise_engine.send.archive import Answer, Archive, Unreachable
from unoise_engine.send.spool import Spool

FIRST_WAIT_S = 1.0  # doubled after each failure


def connect(
    to: str,
    stow: str,
    calling_ae: str = "UNOISE",
    tls: bool = False,
    ca: Path | None = None,
    cert: Path | None = None,
) -> Archive:
    """The archive at AE@host:port or at a DICOMweb URL; nothing is opened yet. Raises Usage or MissingExtra."""
    if bool(to) == bool(stow):
        raise Usage("send", "needs one address", "give --to AE@host:port or --stow URL")
    for file in (ca, cert):
        if file is not None and not file.is_file():
            raise Usage(file, "does not exist", "check the path")
    for needed in ("pydicom", "pynetdicom") if to else ("pydicom",):
        if find_spec(needed) is None:
            raise MissingExtra(needed, "dicom")
    if to:
        from unoise_engine.send.dimse import StoreArchive

        return StoreArchive(to, calling_ae, tls, ca, cert)
    from unoise_engine.send.stow import StowArchive

    return StowArchive(stow, ca, cert)


def send_all(
    out: Path,
    archive: Archive,
    retries: int = 3,
    again: bool = False,
    wait: Callable[[float], None] = time.sleep,
) -> int:
    """Sends every DICOM object under `out`, one line each, and returns how many failed.

    Raises Usage if there is none, Environment if the archive cannot be reached or the record cannot be written.
    """
    objects = find_objects(out)
    spool = Spool(out, archive.name)
    pending = [p for p in objects if again or not spool.was_sent(p)]
    if len(pending) < len(objects):
        print(f"{len(objects) - len(pending)} of {len(objects)} objects were sent to {archive.name} before")
    failed = 0
    try:
        archive.prepare(pending)
        for k, path in enumerate(pending):
            try:
                answer = _with_retries(archive, path, retries, wait)
            except Unreachable as error:
                for left in pending[k:]:
                    _say(spool.record(left, Answer(False, f"archive not reached: {error}")))
                raise Environment(
                    archive.name,
                    f"cannot be reached ({error})",
                    f"check address and titles, then run send again: {failed + len(pending) - k} objects wait",
                ) from None
            failed += not answer.sent
            _say(spool.record(path, answer))
    finally:
        archive.close()
    return failed


def find_objects(out: Path) -> list[Path]:
    """The DICOM results under a folder, in a fixed order; hidden folders hold results that are not finished."""
    if not out.is_dir():
        raise Usage(out, "is no folder", "give the folder that explain --format dicom wrote")
    found = [
        p
        for p in sorted(out.rglob("*.dcm"))
        if not (p.is_dir() or any(n.startswith(".") for n in p.relative_to(out).parts))
    ]
    if not found:
        raise Usage(out, "holds no DICOM results", "write them with: unoise_engine explain ... --format dicom")
    return found


def _with_retries(archive: Archive, path: Path, retries: int, wait: Callable[[float], None]) -> Answer:
    for attempt in range(retries + 1):
        try:
            answer = archive.send(path)
            if answer.sent or not answer.passing:
                return answer
        except Unreachable:
            if attempt == retries:
                raise
        if attempt < retries:
            wait(FIRST_WAIT_S * 2**attempt)
    return answer


def _say(line: str) -> None:
    print(line, file=sys.stdout if line.startswith("SENT") else sys.stderr)

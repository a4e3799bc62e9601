"""What was done, to which bytes, by which model, with which settings: OUT/<id>/record.json decides, not a file's name.

A record holds no path. It is written into the case's folder before that folder gets its name, so there is either both
or neither. One that does not read as a record, value by value, counts as none: its case is done anew.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unoise_engine.files import GROWS, note, sha256, write_json
from unoise_engine.strict_json import read_json
from unoise_engine.typed import convert

RECORD = "record.json"
RECORD_VERSION = 1
RESULTS_VERSION = 1  # raise it when the same settings come to mean other results: old records then count no more
EXPLAINED = ("OK", "CORRECTED")
DONE = (*EXPLAINED, "REFUSED")  # FAILED cases are tried again
STATUSES = (*DONE, "FAILED")
LARGEST = 64 << 20  # bytes of a record; one with a thousand files has 0.2 million


@dataclass(frozen=True)
class Inputs:
    """The bytes of a case's files. `stat` is a hash of their sizes and times: while it is the same, nobody need read
    the files again to know that they are."""

    sha256: str
    files: int
    bytes: int
    stat: str


@dataclass(frozen=True)
class Output:
    """A file of results."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Organ:
    name: str
    found: bool
    volume_ml: float
    axial_slice_of_largest_area: int | None = None
    axial_slice_from_feet: int | None = None


@dataclass(frozen=True)
class Told:
    """What the summary shows of a case that was explained. `seconds`: stage -> time."""

    organ: Organ
    corrections: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: dict[str, float]
    warnings: tuple[str, ...] = ()
    warning: str = ""
    verdicts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Record:
    """`outputs` maps each file of the case's folder to what it was; `report` is a table as Told has it, or empty."""

    case: str
    status: str  # OK, CORRECTED, REFUSED, FAILED
    model: str
    settings: dict[str, Any]
    inputs: Inputs | None = None  # None: they could not be read
    code: str = ""
    message: str = ""  # without names
    outputs: dict[str, Output] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    finished: str = ""  # UTC

    def to_dict(self) -> dict[str, Any]:
        return {"record_version": RECORD_VERSION, **asdict(self)}

    @staticmethod
    def from_dict(body: dict[str, Any]) -> Record:
        """Raises ValueError for anything else than a record."""
        body = dict(body)
        if body.pop("record_version", None) != RECORD_VERSION:
            raise ValueError("another version")
        record: Record = convert(body, Record, "")
        if record.status not in STATUSES:
            raise ValueError(f"no status: {record.status}")
        if record.status in EXPLAINED:
            convert(record.report, Told, "")
        return record


def read_record(folder: Path) -> Record | None:
    """None if there is none of this case, or one that cannot be understood: then the case is not done."""
    path = folder / RECORD
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            return None
        body = read_json(path.read_bytes(), LARGEST)
        record = Record.from_dict(body) if isinstance(body, dict) else None
    except (OSError, ValueError):
        return None
    return record if record and record.case == folder.name else None


def write_record(record: Record, folder: Path) -> None:
    """Raises OSError, and Environment if another record lies in a folder that was not made here."""
    if not (folder / RECORD).exists():
        note(folder, {RECORD: GROWS})  # by its name alone: one that a power cut broke is ours too
    write_json(folder / RECORD, record.to_dict(), replace=True)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def stat_of(files: Iterable[Path]) -> tuple[str, int]:
    """A hash of the files' sizes and times, and their size together."""
    digest, total = hashlib.sha256(), 0
    for one in (os.stat(path) for path in files):
        total += one.st_size
        digest.update(f"{one.st_size} {one.st_mtime_ns} {one.st_ctime_ns}\n".encode())
    return digest.hexdigest(), total


def hash_inputs(files: tuple[Path, ...]) -> Inputs:
    """Reads every file. Their names and order do not count. Raises OSError."""
    stat, total = stat_of(files)
    hashes = []
    for path in files:
        hashes.append(bytes.fromhex(sha256(path)))
    return Inputs(hashlib.sha256(b"".join(sorted(hashes))).hexdigest(), len(files), total, stat)


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder survive a power cut, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def why_not_done(
    record: Record | None, folder: Path, model: str, settings: dict[str, Any], files: tuple[Path, ...]
) -> str:
    """Empty if the record says that exactly this was done and its results are there; else what is different."""
    if record is None:
        return "no record of it"
    checks: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("it had failed", lambda: record.status in DONE),
        ("another model", lambda: record.model == model),
        ("other settings", lambda: record.settings == settings),
        ("its results were altered", lambda: _same_outputs(record, folder)),
        ("other input", lambda: _same_inputs(record.inputs, files)),
    )
    return next((reason for reason, holds in checks if not holds()), "")


def _same_outputs(record: Record, folder: Path) -> bool:
    try:
        return all((folder / name).stat().st_size == entry.bytes for name, entry in record.outputs.items())
    except OSError:
        return False


def _same_inputs(inputs: Inputs | None, files: tuple[Path, ...]) -> bool:
    if inputs is None or inputs.files != len(files):
        return False
    try:
        stat, total = stat_of(files)
        return stat == inputs.stat or (total == inputs.bytes and hash_inputs(files).sha256 == inputs.sha256)
    except OSError:
        return False

"""results.jsonl: one line a case, appended when the case ends; the latest line of a case counts.

    {"case": "case-0001", "status": "OK", "code": "", "message": "", "organ": {...}, "seconds": {...}, ...}

Each line is written in one piece, under a lock. A run that is killed between a case's record and its line adds the line
when it is resumed; two runs never write the same one. What does not read as a line, value by value, is passed over: the
records of the cases' folders say the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from unoise_engine.batch.records import EXPLAINED, RECORD, STATUSES, Organ, Record, read_record
from unoise_engine.files import grow
from unoise_engine.lock import held
from unoise_engine.strict_json import read_json
from unoise_engine.typed import convert
from unoise_engine.volume.names import SAFE

LEDGER = "results.jsonl"
LONGEST = 16 << 20  # bytes of a line; the longest of a real CT, with a note a slice, has some 0.1 million


@dataclass(frozen=True)
class Line:
    """The types of `line_of`. Raises ValueError for what cannot be shown."""

    case: str
    status: str
    code: str
    message: str
    organ: Organ | None
    corrections: tuple[str, ...] | None
    notes: tuple[str, ...] | None
    seconds: dict[str, float] | None
    input_sha256: str | None
    model_sha256: str
    settings: dict[str, Any]
    finished: str
    warnings: tuple[str, ...] | None = None
    verdicts: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not SAFE.fullmatch(self.case) or self.status not in STATUSES:
            raise ValueError("no case, or no status")
        if self.status in EXPLAINED and self.organ is None:
            raise ValueError("explained, and no organ")


class Ledger:
    def __init__(self, out: Path) -> None:
        self.out = out
        self.path = out / LEDGER
        self._read_to = 0
        self._seen: set[tuple[str, str]] = set()

    def add(self, record: Record) -> None:
        """Appends the record's line unless it stands there already."""
        with held(self.out, "results", wait_s=600):
            self._catch_up()
            if (record.case, record.finished) in self._seen:
                return
            handle = grow(self.path)
            try:
                line = (json.dumps(line_of(record)) + "\n").encode()
                os.write(handle, self._mend(handle) + line)
                os.fsync(handle)
            finally:
                os.close(handle)

    def _catch_up(self) -> None:
        """Reads the lines that were added since, by this run or another."""
        if not self.path.exists():
            return
        with self.path.open("rb") as f:
            f.seek(self._read_to)
            for piece in _pieces(f):
                if piece.endswith(b"\n") or len(piece) == LONGEST:
                    self._read_to += len(piece)
                    if line := _parse(piece):
                        self._seen.add((line["case"], line["finished"]))

    @staticmethod
    def _mend(handle: int) -> bytes:
        """Ends a line that a power cut broke off, so that the next one stands alone."""
        size = os.fstat(handle).st_size
        if not size:
            return b""
        os.lseek(handle, size - 1, os.SEEK_SET)
        return b"" if os.read(handle, 1) == b"\n" else b"\n"


def line_of(record: Record) -> dict[str, Any]:
    return {
        "case": record.case,
        "status": record.status,
        "code": record.code,
        "message": record.message,
        **{key: record.report.get(key) for key in ("organ", "corrections", "notes", "warnings", "seconds", "verdicts")},
        "input_sha256": record.inputs.sha256 if record.inputs else None,
        "model_sha256": record.model,
        "settings": record.settings,
        "finished": record.finished,
    }


def latest(out: Path) -> list[dict[str, Any]]:
    """The latest line of every case, in the order of their ids. A case without one, as its record says."""
    lines: dict[str, dict[str, Any]] = {}
    with suppress(FileNotFoundError), (out / LEDGER).open("rb") as f:
        lines = {line["case"]: line for line in map(_parse, _pieces(f)) if line}
    for folder in (path.parent for path in out.glob(f"*/{RECORD}") if path.parent.name not in lines):
        if record := read_record(folder):
            lines[record.case] = line_of(record)
    return [lines[case] for case in sorted(lines, key=lambda case: (len(case), case))]


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """Lines, or parts of one that is too long to be ours."""
    return iter(lambda: file.readline(LONGEST), b"")


def _parse(line: bytes) -> dict[str, Any]:
    """Empty if it is no line of ours."""
    try:
        body = read_json(line, LONGEST)
        convert(body, Line, "")
    except ValueError:
        return {}
    return dict(body)

"""results.jsonl: one line a case, appended when the case ends; the latest line of a case counts.

    {"case": "case-0001", "status": "OK", "code": "", "message": "", "organ": {...}, "seconds": {...}, ...}

Each line is written in one piece, under a lock. A run that is killed between a case's record and its line adds the line
when it is resumed; two runs never write the same one.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from unoise_engine.batch.records import Record
from unoise_engine.files import grow
from unoise_engine.lock import held

LEDGER = "results.jsonl"


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
            for line in f:
                if line.endswith(b"\n"):
                    self._read_to += len(line)
                    body = _parse(line)
                    self._seen.add((body.get("case", ""), body.get("finished", "")))

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
        **{key: record.report.get(key) for key in ("organ", "corrections", "notes", "warnings", "seconds")},
        "input_sha256": record.inputs.sha256 if record.inputs else None,
        "model_sha256": record.model,
        "settings": record.settings,
        "finished": record.finished,
    }


def latest(out: Path) -> list[dict[str, Any]]:
    """The latest line of every case, in the order of their ids; broken lines are passed over."""
    try:
        with (out / LEDGER).open("rb") as f:
            lines = {body["case"]: body for body in map(_parse, f) if "case" in body}
    except FileNotFoundError:
        return []
    return [lines[case] for case in sorted(lines, key=lambda case: (len(case), case))]


def _parse(line: bytes) -> dict[str, Any]:
    try:
        body = json.loads(line)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}

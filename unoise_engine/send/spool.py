"""OUT/send.jsonl: what was sent where, one JSON object a line, flushed to the disk before the next object goes out."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from unoise_engine.errors import Environment
from unoise_engine.files import grow, refuse_strangers, sha256
from unoise_engine.send.archive import Answer
from unoise_engine.send.object import not_regular

RECORD = "send.jsonl"


class Spool:
    """The record of a folder of results, seen for one archive."""

    def __init__(self, out: Path, archive: str):
        self.out, self.archive = out, archive
        self.path = out / RECORD
        refuse_strangers(self.path)
        self._sent: set[tuple[str, str]] = set()  # (object, sha256)
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.exists() else ""
        except OSError as error:
            raise self._trouble(error) from None
        self._torn = bool(text) and not text.endswith("\n")  # the power went while it was written
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                if entry["to"] == archive and entry["status"] == "SENT":
                    self._sent.add((entry["object"], entry["sha256"]))
            except (ValueError, KeyError, TypeError):
                continue

    def was_sent(self, path: Path) -> bool:
        """These very bytes went there: an object that was made anew since then goes again."""
        name = self._name(path)
        return any(name == sent for sent, _ in self._sent) and (name, _hash(path)) in self._sent

    def record(self, path: Path, answer: Answer) -> str:
        """Writes the outcome down and returns its line for people."""
        entry = {
            "object": self._name(path),
            "sha256": _hash(path),
            "to": self.archive,
            "status": "SENT" if answer.sent else "FAILED",
            "reason": answer.reason,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        try:
            with os.fdopen(grow(self.path), "a", encoding="utf-8") as f:
                f.write("\n" * self._torn + json.dumps(entry) + "\n")
                f.flush()
                os.fsync(f.fileno())
        except OSError as error:
            raise self._trouble(error) from None
        self._torn = False
        if answer.sent:
            return f"SENT {entry['object']}"
        return f"FAILED {entry['object']}: {answer.reason} - run send again to retry"

    def _name(self, path: Path) -> str:
        return path.relative_to(self.out).as_posix()

    def _trouble(self, error: OSError) -> Environment:
        return Environment(self.path, f"cannot be used ({error.strerror})", "check permissions and free space")


def _hash(path: Path) -> str:
    """Of the file's bytes; empty if it cannot be read, which the archive's answer then says."""
    if not_regular(path):
        return ""
    try:
        return sha256(path)
    except OSError:
        return ""

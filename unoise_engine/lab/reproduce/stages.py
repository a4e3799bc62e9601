"""Stages that leave a record, so that what is finished is not done again.

OUT/records/<stage>.json holds the key of everything the stage depends on, and what it found. A stage is done if its
record has today's key; with another key its folder is removed and made anew.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unoise_engine.errors import Interrupted
from unoise_engine.files import remove, write_json
from unoise_engine.volume.write import cannot_write

GO_ON = "give the same command again: it goes on from there"


class Stages:
    """`make(folder, resumed)` does the work and returns facts that JSON can hold."""

    def __init__(self, out: Path):
        self.out, self.records = out, out / "records"
        self.done: list[dict[str, Any]] = []

    def run(
        self, name: str, depends: Any, make: Callable[[Path, bool], dict[str, Any]], command: str = ""
    ) -> tuple[str, dict[str, Any]]:
        """The key, for stages that depend on this one, and its facts. Raises Interrupted, and what `make` does."""
        key, number = digest([name, depends]), len(self.done) + 1
        path, folder = self.records / f"{name}.json", self.out / name
        record = read(path)
        if record.get("key") == key and "facts" in record and folder.is_dir():
            print(f"reproduce: stage {number}, {name}: done before", file=sys.stderr)
        else:
            begun = record.get("key") == key and folder.is_dir()
            if not begun:
                remove(folder)  # made on other ground
            self._write(path, {"key": key})
            print(f"reproduce: stage {number}, {name} ...", file=sys.stderr, flush=True)
            started = time.perf_counter()
            try:
                facts = make(folder, begun)
            except KeyboardInterrupt:
                raise Interrupted(self.out, f"stage {name} was interrupted", GO_ON) from None
            seconds = record.get("seconds", 0.0) if begun else 0.0
            record = {
                "key": key,
                "stage": name,
                "command": command,
                "seconds": round(seconds + time.perf_counter() - started, 1),
                "facts": facts,
            }
            self._write(path, record)
        self.done.append(record)
        return key, record["facts"]

    def _write(self, path: Path, record: dict[str, Any]) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, record, replace=True)
        except OSError as error:
            raise cannot_write(path, error) from None


def read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text("utf-8"))
        return record if isinstance(record, dict) else {}
    except (OSError, ValueError):
        return {}


def digest(what: Any) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()

"""Which case is which input: numbers for everybody, and one private table for whoever holds the data.

Names of files and folders often hold patients' names, so results are called case-0001, case-0002, ... in the order the
inputs were found; paths stand in OUT/private/inputs.csv alone (readable by its owner only). An input keeps its number
in later runs. Leave `private` out when you hand results on.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path

from unoise_engine.errors import Environment
from unoise_engine.files import GROWS, INVENTORY, note, write
from unoise_engine.lock import held
from unoise_engine.spreadsheet import bare, marked
from unoise_engine.volume.find import Case
from unoise_engine.volume.names import SAFE

TABLE = Path("private", "inputs.csv")
COLUMNS = ["case", "part", "source"]
CURE = "correct it, or choose another output folder"


@dataclass(frozen=True)
class Known:
    """A row: the case's id, the input's absolute path, and which CT of that input it is (0, 1, ...)."""

    case: str
    part: int
    source: str


def assign(cases: list[Case], out: Path, keep_names: bool = False) -> list[str]:
    """An id for each case, written to the table. With `keep_names` new ids come from the files' names.

    Results that stand in `out` keep their ids, also if the table has lost them. Raises Environment for a table that
    cannot be understood: which patient a number means must not be guessed.
    """
    with held(out, "inputs", wait_s=60):
        rows = read_table(out)
        ids = {(row.source, row.part): row.case for row in reversed(rows)}
        taken = {row.case.lower() for row in rows}
        result: list[str] = []
        new: list[Known] = []
        seen: dict[str, int] = {}
        for case in cases:
            source = str(case.source.resolve())
            part = seen[source] = seen.get(source, -1) + 1
            if (source, part) not in ids:
                name = _free(case.id if keep_names else "", len(rows) + len(new) + 1, out, taken)
                taken.add(name.lower())
                ids[source, part] = name
                new.append(Known(name, part, source))
            result.append(ids[source, part])
        if new:
            _append(out / TABLE, new)
    return result


def read_table(out: Path) -> list[Known]:
    """Its rows, whoever wrote them last. Raises Environment, which names the line."""
    path, rows, lines = out / TABLE, list[Known](), dict[str, int]()
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return rows
    except OSError as error:
        raise Environment(path, f"cannot be read ({error.strerror})", CURE) from None
    # By the file system's encoding, whatever it is today: names are compared with those that it gives.
    table = csv.reader(io.StringIO(os.fsdecode(content.removeprefix(codecs.BOM_UTF8)), newline=""), strict=True)
    try:
        if next(table, []) != COLUMNS:
            raise ValueError(f"must be {','.join(COLUMNS)}")
        for row in filter(None, table):
            known = _known(row)
            if first := lines.get(known.case.lower()):
                raise ValueError(f"calls another input {known.case} too, as line {first} does")
            lines[known.case.lower()] = table.line_num
            rows.append(known)
    except (ValueError, csv.Error) as error:
        raise Environment(f"{path}, line {table.line_num}", str(error), CURE) from None
    return rows


def _known(row: list[str]) -> Known:
    if len(row) != len(COLUMNS):
        raise ValueError(f"has {len(row)} fields, not {len(COLUMNS)}: {','.join(COLUMNS)}")
    case, part, source = row
    if not SAFE.fullmatch(case):
        raise ValueError(f"{case!r} is no id of a case, as case-0001")
    if not re.fullmatch("[0-9]{1,9}", part):
        raise ValueError(f"part must be 0, 1, ..., not {part!r}")
    if not source:
        raise ValueError("names no input")
    return Known(case, int(part), bare(source))


def _free(wanted: str, number: int, out: Path, taken: set[str]) -> str:
    """A name that is not taken: `wanted`, wanted-2, ..., or the next free number."""
    stem, k = wanted, 2
    name = wanted or f"case-{number:04d}"
    while name.lower() in taken or (out / name / INVENTORY).exists():
        number += 1
        name, k = (f"{stem}-{k}" if stem else f"case-{number:04d}"), k + 1
    return name


def _append(path: Path, rows: list[Known]) -> None:
    """Rewrites the table with the rows added, in one rename."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    old = path.read_bytes() if path.exists() else b""
    if not old:
        writer.writerow(COLUMNS)
    elif not old.endswith(b"\n"):  # some editors leave it out
        text.write("\n")
    writer.writerows([row.case, row.part, marked(row.source)] for row in rows)
    note(path.parent, {path.name: GROWS})  # it reads as ours, so it is, whoever has edited it
    write(path, old + os.fsencode(text.getvalue()), replace=True, mode=0o600)

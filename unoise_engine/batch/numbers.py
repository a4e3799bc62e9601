"""Which case is which input: numbers for everybody, and one private table for whoever holds the data.

Names of files and folders often hold patients' names, so results are called case-0001, case-0002, ... in the order the
inputs were found; paths stand in OUT/private/inputs.csv alone (readable by its owner only). An input keeps its number
in later runs. Leave `private` out when you hand results on.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from unoise_engine.errors import Environment
from unoise_engine.files import write
from unoise_engine.lock import held
from unoise_engine.volume.find import Case

TABLE = Path("private", "inputs.csv")
COLUMNS = ["case", "part", "source"]


@dataclass(frozen=True)
class Known:
    """A row: the case's id, the input's absolute path, and which CT of that input it is (0, 1, ...)."""

    case: str
    part: int
    source: str


def assign(cases: list[Case], out: Path, keep_names: bool = False) -> list[str]:
    """An id for each case, written to the table. With `keep_names` new ids come from the files' names."""
    with held(out, "inputs", wait_s=60):
        rows = read_table(out)
        ids = {(row.source, row.part): row.case for row in rows}
        taken = {row.case.lower() for row in rows}
        result: list[str] = []
        new: list[Known] = []
        seen: dict[str, int] = {}
        for case in cases:
            source = str(case.source.resolve())
            part = seen[source] = seen.get(source, -1) + 1
            if (source, part) not in ids:
                name = _free(case.id if keep_names else "", len(rows) + len(new) + 1, taken)
                taken.add(name.lower())
                ids[source, part] = name
                new.append(Known(name, part, source))
            result.append(ids[source, part])
        if new:
            _append(out / TABLE, new)
    return result


def read_table(out: Path) -> list[Known]:
    path = out / TABLE
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as f:
            rows = list(csv.DictReader(f))
        return [Known(row["case"], int(row["part"]), row["source"]) for row in rows]
    except FileNotFoundError:
        return []
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise Environment(path, f"cannot be read ({error})", "repair it, or choose another output folder") from None


def _free(wanted: str, number: int, taken: set[str]) -> str:
    """A name that is not taken: `wanted`, wanted-2, ..., or the next free number."""
    stem, k = wanted, 2
    name = wanted or f"case-{number:04d}"
    while name.lower() in taken:
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
    writer.writerows([row.case, row.part, row.source] for row in rows)
    write(path, old + text.getvalue().encode("utf-8", "surrogateescape"), replace=True, mode=0o600)

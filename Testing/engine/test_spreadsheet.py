"""Text of patients, files and models stands in many tables: no spreadsheet runs it."""

import ast
import csv
import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.engine.test_layers import ENGINE, ROOT, modules
from unoise_engine.evaluate.tables import write_csv
from unoise_engine.lab.benchmark.contest import Row
from unoise_engine.lab.benchmark.findings import Findings, write_csv_files
from unoise_engine.models.profile import Node
from unoise_engine.spreadsheet import FORMULA, bare, csv_text, marked

EVIL = [
    "=1+1",
    "+1",
    "-2+3",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1",
    "＠A",
    " =1",
    "'=1",
    "a;=1",
    "a; -1",
    "a,=1",
    '"=1',
]


def cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def runs(cell: str) -> bool:
    return not cell.isprintable() or any(part.lstrip(" ").startswith(tuple("=+-@＝＋－＠")) for part in cell.split(";"))


@pytest.mark.parametrize("evil", EVIL)
def test_no_cell_is_run_in_whatever_table(tmp_path: Path, evil: Any) -> None:
    """Also in heads, in what is no string but is written as one, and in tables of the benchmark."""
    write_csv(tmp_path / "one.csv", [{evil: evil, "path": Path(evil), "number": -0.5}])
    (head, row) = cells((tmp_path / "one.csv").read_text(encoding="utf-8"))
    assert not any(map(runs, [*head, *row[:2]])) and row[2] == "-0.5"
    rows = [Row(evil, evil, evil, 1.0, 0.5, 2.0, 3, sampled=evil)]
    found = Findings(evil, {}, rows=rows, nodes={(evil, evil): [Node(evil, evil, (1, 2), 0.5)]})
    write_csv_files(tmp_path, found)
    for name in ("benchmark.csv", "nodes.csv"):
        table = cells((tmp_path / name).read_text(encoding="utf-8"))
        assert len(table) == 2 and not any(map(runs, table[1])), table


def test_numbers_stay_numbers() -> None:
    row = [-0.123456789, np.float32(-0.5), -3, np.int64(-3), True, None, math.nan, -math.inf, np.float64(1.0)]
    assert csv_text([row], digits=6) == "-0.123457,-0.5,-3,-3,True,,,,1\n"
    assert csv_text([[-0.123456789, 1.0]]) == "-0.123456789,1.0\n"


@pytest.mark.parametrize("text", [*EVIL, "", "plain", "it's", "a;'=1", "a;''=1", "''-x", ";", "'"])
def test_a_mark_comes_off_again(text: Any) -> None:
    assert bare(marked(text)) == text and not any(part.startswith("=") for part in marked(text).split(";"))


# Who writes a table by himself: a table that is read back byte by byte, with `marked`, and one of numbers alone.
OWN = {"spreadsheet", "batch.numbers", "training.checkpoints"}


def test_every_other_table_is_written_in_one_place() -> None:
    for module, path in modules():
        names = {n.attr for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Attribute)}
        assert module in OWN or not names & {"DictWriter", "writer", "to_csv", "savetxt"}, path.relative_to(ROOT)
    assert (ENGINE / "spreadsheet.py").is_file()


def test_slicers_tables_know_the_same_formulas() -> None:
    """The panel's code cannot import the engine's."""
    text = (ROOT / "UNoiseSlicer/UNoiseSlicerLib/naming.py").read_text(encoding="utf-8")
    (there,) = re.findall(r'^FORMULA = re\.compile\(r"(.+?)"\)', text, re.M)
    assert there == FORMULA.pattern

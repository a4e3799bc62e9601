"""Tables that people open in spreadsheets (CSV). Text in them comes from patients, files and models: none of it is run.

Whoever writes a table of his own that a spreadsheet may open writes its rows by `csv_text`.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

from unoise_engine.errors import printable

# What a spreadsheet would run, at the start of a cell or behind what parts cells in some countries (OWASP: CSV
# injection). It also names tabs and line breaks, which are spelt. A mark that is there already gets one more, so that
# `bare` gives back the very text.
MARK = "'"
FORMULA = re.compile(rf"(^|;)(?=[ {MARK}]*[=+\-@＝＋－＠])")
MARKED = re.compile(rf"(^|;){MARK}(?=[ {MARK}]*[=+\-@＝＋－＠])")


def csv_text(rows: Iterable[Iterable[Any]], digits: int | None = None) -> str:
    """Lines of a table. A number that is none, or without end, is an empty cell; `digits` are those that count
    of numbers with a point.

    Text stands on one line, and no spreadsheet runs it.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_cell(value, digits) for value in row] for row in rows)
    return text.getvalue()


def marked(text: str) -> str:
    """The text as no spreadsheet runs it; `bare` takes the marks off again."""
    return FORMULA.sub(rf"\1{MARK}", text)


def bare(text: str) -> str:
    return MARKED.sub(r"\1", text)


def _cell(value: Any, digits: int | None) -> Any:
    if value is None or isinstance(value, Integral):
        return value
    if isinstance(value, Real):
        return "" if not math.isfinite(value) else value if digits is None else f"{value:.{digits}g}"
    return marked(printable(str(value)))

"""JSON from somebody else: bounded, and with one meaning only."""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate
from typing import Any

DEEPEST = 32  # lists and tables within one another; deeper ones exhaust the stack of some Pythons
STRING, BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL), re.compile(r"[\[\]{}]")


def read_json(content: bytes, most: int) -> Any:
    """Raises ValueError for what is longer than `most` bytes, no JSON, nested too deeply, has one key twice, or numbers
    that are not finite."""
    if len(content) > most:
        raise ValueError(f"larger than {most} bytes")
    text = content.decode("utf-8")
    depths = accumulate(1 if bracket in "[{" else -1 for bracket in BRACKET.findall(STRING.sub("", text)))
    if max(depths, default=0) > DEEPEST:
        raise ValueError("nested too deeply")
    return json.loads(text, object_pairs_hook=_table, parse_float=_finite, parse_constant=_finite)


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("one key stands twice")
    return table


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is no finite number")
    return number

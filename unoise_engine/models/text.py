"""Words from a bundle, made fit for terminals, pictures, tables and DICOM, where they are loaded."""

from __future__ import annotations

from typing import Any

LONGEST = 4000  # letters of a licence or a description; titles have less
LONGEST_ORGAN = 80
MOST_ENTRIES, DEEPEST = 10_000, 12  # of what a manifest says about training and measurements


def one_line(text: str, most: int = LONGEST) -> str:
    """Printable characters on one line, `most` at the most: no control codes, no marks that turn the direction of
    writing, no halves of characters."""
    shown = "".join(c for c in " ".join(text[: 4 * most].split()) if c.isprintable())
    return shown if len(shown) <= most else shown[: most - 3] + "..."


def fit_for_organ(name: str) -> bool:
    """Whether tables, masks and DICOM can bear an organ's name as it stands. No table takes it for a formula."""
    return name[:1].isalnum() and one_line(name, LONGEST_ORGAN) == name


def plain(value: Any, depth: int = DEEPEST) -> Any:
    """Facts of any shape with every text as `one_line` has it. Raises ValueError for tables deeper or longer than any
    that an export writes."""
    if isinstance(value, str):
        return one_line(value)
    if not isinstance(value, dict | list):
        return value
    if not depth or len(value) > MOST_ENTRIES:
        raise ValueError("facts nested too deeply, or too many")
    if isinstance(value, list):
        return [plain(v, depth - 1) for v in value]
    return {one_line(k, 200): plain(v, depth - 1) for k, v in value.items()}

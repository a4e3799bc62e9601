"""Sentences without names: what was found wrong with a file, fit for reports that are handed on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

HIDDEN = "a file"
LONGEST_NUMBER = 4  # digits that count slices rather than name somebody
# Words of our own sentences that are written large, as folders are called that name nobody.
SPOKEN = {
    "CT", "HU", "DICOM", "NIfTI", "NRRD", "MetaImage", "MR", "SOP", "UID", "ID", "Study", "Series", "Image", "Images",
    "Slice", "Instance", "Class", "Frame", "Patient", "Specific", "Character", "Set", "Thickness", "Reference", "Date",
    "Time", "Birth", "Sex", "Accession", "Number", "Name", "JPEG", "MIP", "RLE", "Lossy", "Compression", "Method",
}  # fmt: skip


def hider(source: Path, files: Iterable[Path]) -> Callable[[str], str]:
    """A function that takes this case's paths, and every name in them, out of a sentence.

    A folder called by ordinary words ("slices", "Series 1") is hidden only as part of a path, or as that which the
    sentence is about: anywhere else it is a word of the sentence, whatever folders are called.
    """
    names: dict[str, bool] = {}  # name -> whether it is an ordinary word
    paths = [source, source.absolute(), source.resolve(), *files]
    for path in paths:
        for part in (*path.parts[:-1], path.stem, path.name.removesuffix(".nii.gz"), path.name):
            names[part] = _ordinary(part)
    names |= {path.name: bool(re.fullmatch(rf"\d{{1,{LONGEST_NUMBER}}}", path.name)) for path in paths[3:]}
    whole = {str(p) for path in paths for p in (path, *path.parents) if len(p.parts) > 1}
    names |= dict.fromkeys(whole, False)
    # Longest first, so that a whole path goes before its parts; two letters or fewer name nobody, and "/" is no name.
    chosen = sorted((n for n in names if len(n.strip("/\\.")) > 2), key=len, reverse=True)
    if not chosen:
        return str
    pattern = re.compile("|".join(_pattern(name, names[name]) for name in chosen))
    again = re.compile(rf"{re.escape(HIDDEN)}(?:[/\\]?{re.escape(HIDDEN)})+")
    return lambda text: again.sub(HIDDEN, pattern.sub(HIDDEN, text))


def _pattern(name: str, ordinary: bool) -> str:
    word = rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])"
    return rf"(?:{word}(?=[/\\])|(?<=[/\\]){word}|^{word}(?= - ))" if ordinary else word


def _ordinary(name: str) -> bool:
    """Whether all of it are small or well-known words and short numbers, in ASCII."""
    parts = re.findall(r"[A-Za-z]+|\d+", name)
    plain = re.fullmatch(r"[A-Za-z0-9 _-]+", name) is not None
    return plain and all(len(p) <= LONGEST_NUMBER if p.isdigit() else p.islower() or p in SPOKEN for p in parts)

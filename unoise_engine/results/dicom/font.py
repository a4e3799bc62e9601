"""A 5 x 7 dot font, enough to burn a line of capitals into a picture without a drawing library."""

from __future__ import annotations

import numpy as np

HEIGHT, ADVANCE = 7, 6
# Each glyph is 5 columns, left to right; in a column the lowest bit is the uppermost dot.
GLYPHS = {
    " ": "0000000000", "A": "7e1111117e", "B": "7f49494936", "C": "3e41414122", "D": "7f4141413e", "E": "7f49494941",
    "F": "7f09090901", "G": "3e4149497a", "H": "7f0808087f", "I": "00417f4100", "J": "2040413f01", "K": "7f08142241",
    "L": "7f40404040", "M": "7f020c027f", "N": "7f0408107f", "O": "3e4141413e", "P": "7f09090906", "Q": "3e4151215e",
    "R": "7f09192946", "S": "2649494932", "T": "01017f0101", "U": "3f4040403f", "V": "1f2040201f", "W": "3f4038403f",
    "X": "6314081463", "Y": "0304780403", "Z": "6151494543", "0": "3e5149453e", "1": "00427f4000", "2": "4261514946",
    "3": "2141454b31", "4": "1814127f10", "5": "2745454539", "6": "3c4a494930", "7": "0171090503", "8": "3649494936",
    "9": "064949291e", "-": "0808080808", ".": "0060600000", ",": "0050300000", ":": "0036360000", ";": "0056360000",
    "/": "2010080402",
    "(": "001c224100", ")": "0041221c00", "%": "2313086462", "+": "08083e0808", "=": "1414141414", "'": "0000070000",
    "?": "0201510906", "_": "4040404040",
}  # fmt: skip


def text_dots(text: str, scale: int = 1) -> np.ndarray:
    """A line of text -> (7 * scale, 6 * scale * characters) bool. Small letters show as capitals."""
    columns = [b for c in text.upper() for b in (*bytes.fromhex(GLYPHS.get(c, GLYPHS["?"])), 0)]
    dots = (np.array(columns, np.uint8)[None] >> np.arange(HEIGHT, dtype=np.uint8)[:, None]) & 1
    return np.kron(dots, np.ones((scale, scale), np.uint8)).astype(bool)


def wrap(text: str, characters: int) -> list[str]:
    """Breaks a text into lines of at most so many characters, between words where it can."""
    lines = [""]
    for word in text.split():
        while len(word) > characters:
            lines += [word[:characters], ""]
            word = word[characters:]
        if lines[-1] and len(lines[-1]) + 1 + len(word) > characters:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return [line for line in lines if line]

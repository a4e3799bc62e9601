"""What a compressed image says of its own size, before a decoder is trusted with it."""

from __future__ import annotations

import struct

MARKERS_OF_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # SOF of JPEG, and SOF55 of JPEG-LS


def size_in(data: bytes) -> tuple[int, int] | None:
    """(rows, columns) that a JPEG, JPEG-LS or JPEG 2000 stream announces; None if it is none or announces none."""
    if data[:4] == b"\xff\x4f\xff\x51":  # JPEG 2000: SOC, SIZ
        right, bottom, left, top = (int.from_bytes(data[k : k + 4], "big") for k in (8, 12, 16, 20))
        return bottom - top, right - left
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in MARKERS_OF_FRAMES:
            return int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def is_whole(data: bytes) -> bool:
    """Whether a JPEG, JPEG-LS or JPEG 2000 stream ends with its end marker."""
    return data[-64:].rstrip(b"\0").endswith(b"\xff\xd9") or data[-65:].rstrip(b"\0")[:-1].endswith(b"\xff\xd9")


def rle_bytes(data: bytes) -> int:
    """How many bytes an RLE frame (PS3.5, annex G) unpacks to, counted without unpacking it."""
    count, *offsets = struct.unpack("<16I", data[:64])
    if not 1 <= count <= 15:
        raise ValueError("no RLE header")
    total = 0
    for start, end in zip(offsets[:count], [*offsets[1:count], len(data)]):
        segment, at = data[start:end], 0
        while at < len(segment) - 1:
            n = segment[at]
            total += n + 1 if n < 128 else 257 - n if n > 128 else 0
            at += n + 2 if n < 128 else 2 if n > 128 else 1
    return total
    return total

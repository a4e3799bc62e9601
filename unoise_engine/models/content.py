"""What is inside a bundle's files, looked through without opening any of them as a model.

Hashes say that a file is the one its author meant; this says that even a hostile author cannot make it run code or
read other files: nothing pickled, no ONNX tensor kept outside, no safetensors header that lies about its size.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

from unoise_engine.errors import Integrity, printable
from unoise_engine.models.onnx_format import parse

# What a bundle may hold. Weights only in formats that cannot carry code.
KINDS = (".onnx", ".safetensors", ".json", ".txt", ".md", ".minisig")
LARGEST_HEADER = 16 << 20  # bytes of a safetensors header; ours have a few thousand
PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")  # PK: torch.save, npz


def check_content(path: Path, content: bytes) -> None:
    """Raises Integrity, naming the file, if it is of another kind than its name says, or of none that is allowed.

    `content` is what was read from `path`, and what will be opened: the file itself may change meanwhile.
    """
    kind = path.suffix.lower()
    if kind not in KINDS:
        kinds = ", ".join(KINDS)
        raise Integrity(path, f"is no kind of file a bundle may hold ({kinds}; nothing pickled)", "do not use it")
    if content.startswith(PICKLE_STARTS):
        raise Integrity(path, "is a pickle or an archive under another name", "do not use this bundle")
    try:
        if kind == ".onnx":
            parse(content)
        elif kind == ".safetensors":
            _check_safetensors(content)
    except (ValueError, struct.error, RecursionError) as error:
        raise Integrity(path, printable(str(error)), "do not use this bundle, or get it again") from None


def _check_safetensors(content: bytes) -> None:
    """The header is plain JSON that fits, and its tensors lie within the file, one after the other."""
    size = len(content)
    length = struct.unpack_from("<Q", content)[0]
    if length > min(LARGEST_HEADER, size - 8):
        raise ValueError(f"damaged: a header of {length} bytes in a file of {size}")
    header = json.loads(content[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError("damaged: its header is no table")
    there = size - 8 - length
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            start, stop = entry["data_offsets"]
            fits = 0 <= start <= stop <= there
        except (TypeError, KeyError, ValueError):
            fits = False
        if not fits:
            raise ValueError(f"damaged: tensor {name[:60]!r} is not within the file")

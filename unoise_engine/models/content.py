"""What is inside a bundle's files, looked at byte by byte without opening any of them as a model.

Hashes say that a file is the one its author meant; this says that even a hostile author cannot make it run code or
read other files: nothing pickled, no ONNX tensor kept outside, no safetensors header that lies about its size.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

from unoise_engine.errors import Integrity

# What a bundle may hold. Weights only in formats that cannot carry code.
KINDS = (".onnx", ".safetensors", ".json", ".txt", ".md", ".minisig")
LARGEST_HEADER = 16 << 20  # bytes of a safetensors header; ours have a few thousand
PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")  # PK: torch.save, npz

# Field numbers of onnx.proto that lead to tensors: {message: {field: message}}
NESTED = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
}
EXTERNAL_DATA, DATA_LOCATION, RAW_DATA = 13, 14, 9  # fields of a tensor
DEEPEST = 32  # graphs within graphs; real ones stay below 4


def check_content(path: Path) -> None:
    """Raises Integrity, naming the file, if it is of another kind than its name says, or of none that is allowed."""
    if path.suffix.lower() not in KINDS:
        kinds = ", ".join(KINDS)
        raise Integrity(f"{path} - is no kind of file a bundle may hold ({kinds}; nothing pickled) - do not use it")
    with path.open("rb") as f:
        start = f.read(4)
    if start.startswith(PICKLE_STARTS):
        raise Integrity(f"{path} - is a pickle or an archive under another name - do not use this bundle")
    try:
        if path.suffix == ".onnx":
            _check_onnx(path)
        elif path.suffix == ".safetensors":
            _check_safetensors(path)
    except (ValueError, struct.error, RecursionError) as error:
        raise Integrity(f"{path} - is damaged ({error}) - get the bundle again") from None


def _check_onnx(path: Path) -> None:
    if not path.stat().st_size:
        raise ValueError("empty")
    for tensor in tensors(memoryview(path.read_bytes()), "Model", 0):
        for field, value in fields(tensor):
            if field == EXTERNAL_DATA or (field == DATA_LOCATION and value != 0):
                what = "keeps weights outside itself (external data)"
                raise Integrity(f"{path} - {what} - export the model with everything inside")


def tensors(content: memoryview, message: str, depth: int) -> Iterator[memoryview]:
    if depth > DEEPEST:
        raise ValueError("graphs nested too deeply")
    for field, value in fields(content):
        kind = NESTED[message].get(field)
        if kind is None or isinstance(value, int):
            continue
        if kind == "Tensor":
            yield value
        else:
            yield from tensors(value, kind, depth + 1)


def fields(content: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """The fields of a protobuf message: number, and bytes or an integer. Raises ValueError if it is none."""
    place, end = 0, len(content)
    while place < end:
        key, place = _varint(content, place)
        field, wire = key >> 3, key & 7
        if wire == 0:
            value, place = _varint(content, place)
            yield field, value
            continue
        if wire == 2:
            length, place = _varint(content, place)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"no protobuf at byte {place}")
        if not field or place + length > end:
            raise ValueError(f"cut off at byte {place}")
        yield field, content[place : place + length]
        place += length


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(content):
            raise ValueError("cut off")
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError(f"no protobuf at byte {place}")


def _check_safetensors(path: Path) -> None:
    """The header is plain JSON that fits, and its tensors lie within the file, one after the other."""
    size = path.stat().st_size
    with path.open("rb") as f:
        length = struct.unpack("<Q", f.read(8))[0]
        if length > min(LARGEST_HEADER, size - 8):
            raise ValueError(f"header of {length} bytes in a file of {size}")
        header = json.loads(f.read(length))
    if not isinstance(header, dict):
        raise ValueError("its header is no table")
    there = size - 8 - length
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            start, stop = entry["data_offsets"]
            fits = 0 <= start <= stop <= there
        except (TypeError, KeyError):
            fits = False
        if not fits:
            raise ValueError(f"tensor {name!r} is not within the file")

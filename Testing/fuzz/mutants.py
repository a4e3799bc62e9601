"""Mutants of a bundle: its ONNX files as nested protobuf fields, its manifest as JSON; each follows from a number."""

import copy
import hashlib
import json
import random
from pathlib import Path
from typing import Any

import onnx

PLACES = ["canary.bin", "../canary.bin", "./canary.bin", "{absolute}", "*/_ORT_MEM_ADDR_/*", ""]
FIELDS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16, 20, 21, 22, 23, 25, 26, 99, 2**28, 2**29 - 1]
NUMBERS = [0, 1, 2, 3, 7, 127, 128, 2**31 - 1, 2**31, 2**32, 2**32 + 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1]
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 3.5, 1e308, 10**400, "", "x", "\ud800", "\x1b[31m", "../canary.bin", "W" * 5000,
    [], [1], [None], [[[]]], {}, {"a": 1}, {"a": {"b": []}},
]  # fmt: skip


def varint(value: int, extra: int = 0) -> bytes:
    """`extra` bytes more than are needed."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    for _ in range(extra):
        out[-1] |= 0x80
        out.append(0)
    return bytes(out)


def field(number: int, wire: int, content: bytes, bit: int = 0, extra: int = 0) -> bytes:
    """`bit` is set in the tag beside number and wire type: 32 is cut off by some readers."""
    tag = varint((number << 3 | wire) | (1 << bit if bit else 0), extra)
    return tag + (varint(len(content), extra) + content if wire == 2 else content)


def split(content: bytes) -> list[tuple[int, int, bytes]] | None:
    """Number, wire type and content of every field, or None where it is no message."""
    fields, at = [], 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            value |= (content[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if content[at - 1] < 0x80:
                return value

    try:
        while at < len(content):
            key = number()
            start, wire = at, key & 7
            if wire == 0:
                number()
            elif wire in (1, 5):
                at += 8 if wire == 1 else 4
            elif wire == 2:
                length = number()
                start, at = at, at + length
            if wire in (3, 4, 6, 7) or not key >> 3 or at > len(content):
                return None
            fields.append((key >> 3, wire, content[start:at]))
    except IndexError:
        return None
    return fields


def outside(chance: random.Random, folder: Path) -> bytes:
    """The fields of a tensor that say that its numbers lie in another file."""
    place = chance.choice(PLACES).format(absolute=folder / "canary.bin")
    long = chance.choice([0, 32, 33, 40, 60])
    said = (("location", place), ("offset", "0"), ("length", str(chance.choice([4, 64, 100]))))
    pairs = [field(13, 2, field(1, 2, k.encode()) + field(2, 2, v.encode()), long) for k, v in said]
    return b"".join(pairs) + field(14, 0, b"\x01", chance.choice([0, long]))


def foreign(chance: random.Random, folder: Path, content: bytes) -> bytes:
    """A field that does not belong there, or belongs there once."""
    wire = chance.choice([0, 2, 2, 2, 5, 1])
    if wire != 2:
        body = varint(chance.choice(NUMBERS)) if wire == 0 else bytes(4 if wire == 5 else 8)
    else:
        tensor = field(1, 0, b"\x01") + field(2, 0, b"\x01") + field(8, 2, b"leak") + outside(chance, folder)
        graph = field(chance.choice([5, 5, 15]), 2, tensor)
        body = chance.choice([b"", tensor, graph, field(7, 2, graph), content[:200], outside(chance, folder)])
    return field(chance.choice(FIELDS), wire, body, chance.choice([0, 0, 32, 34, 60]), chance.choice([0, 0, 1, 4]))


def mutated(content: bytes, chance: random.Random, folder: Path, depth: int = 0) -> bytes:
    """A message with one field of it, or of a message within it, changed, added, doubled, moved or left out."""
    fields = split(content)
    if not fields:
        return scratched(content, chance)
    k = chance.randrange(len(fields))
    parts = [field(*one) for one in fields]
    number, wire, body = fields[k]
    if wire == 2 and depth < 6 and chance.random() < 0.65:
        parts[k] = field(number, 2, mutated(body, chance, folder, depth + 1))
        return b"".join(parts)
    kind = chance.randrange(9)
    if kind == 0:
        parts.insert(k, foreign(chance, folder, content))
    elif kind == 1:
        parts.append(outside(chance, folder))
    elif kind == 2:
        parts[k] = field(number, wire, body, chance.choice([0, 32, 35, 63]), chance.choice([0, 1, 4]))
    elif kind == 3:
        parts[k] = field(chance.choice(FIELDS), wire, body)
    elif kind == 4:
        parts.insert(chance.randrange(len(parts)), parts[chance.randrange(len(parts))])
    elif kind == 5:
        del parts[k]
    elif kind == 6:
        chance.shuffle(parts)
    elif kind == 7 and wire == 0:
        parts[k] = field(number, 0, varint(chance.choice(NUMBERS), chance.choice([0, 0, 1])))
    else:
        parts[k] = field(number, wire, scratched(body, chance))
    return b"".join(parts)


def scratched(content: bytes, chance: random.Random) -> bytes:
    """Bytes flipped, cut off or put in."""
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 5])):
        at = chance.randrange(len(changed) + 1)
        kind = chance.randrange(3)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del changed[at : at + chance.randrange(1, 8)]
        else:
            changed[at:at] = chance.randbytes(chance.randrange(1, 8))
    return bytes(changed)


def canonical(content: bytes) -> bytes:
    """What protobuf makes of it, if anything: then only what the model says is odd, not how."""
    try:
        return onnx.ModelProto.FromString(content).SerializeToString()
    except Exception:
        return content


def odd_manifest(body: dict[str, Any], chance: random.Random) -> bytes:
    """One value anywhere is of another kind, or some bytes of the text are others."""
    if chance.random() < 0.3:
        return scratched(json.dumps(body).encode(), chance)
    changed = inside = copy.deepcopy(body)
    while True:
        key = chance.choice([*inside] if isinstance(inside, dict) else range(len(inside)))
        if not isinstance(inside[key], dict | list) or not inside[key] or chance.random() < 0.3:
            break
        inside = inside[key]
    kind = chance.randrange(4)
    if kind == 0 and isinstance(inside, dict):
        del inside[key]
    elif kind == 1 and isinstance(inside, dict):
        inside[chance.choice(["surprise", "", "../x", "\ud800", "name"])] = chance.choice(VALUES)
    else:
        inside[key] = chance.choice(VALUES)
    return json.dumps(changed).encode()


def plant(good: Path, folder: Path, number: str, home: Path) -> None:
    """Writes the mutant of that number into the empty `folder`; its manifest has the true hashes, as an author's has.
    The canaries lie in `home`."""
    chance = random.Random(number)
    files = {p.name: p.read_bytes() for p in good.iterdir()}
    body = json.loads(files.pop("bundle.json"))
    broken = chance.choice([*files, "bundle.json"])
    if broken != "bundle.json":
        for _ in range(chance.choice([1, 1, 1, 2, 3])):
            files[broken] = mutated(files[broken], chance, home)
        if chance.random() < 0.6:
            files[broken] = canonical(files[broken])
        body["files"][broken] = {"sha256": hashlib.sha256(files[broken]).hexdigest(), "bytes": len(files[broken])}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    manifest = odd_manifest(body, chance) if broken == "bundle.json" else json.dumps(body).encode()
    (folder / "bundle.json").write_bytes(manifest)

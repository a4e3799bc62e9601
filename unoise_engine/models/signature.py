"""Minisign signatures of a bundle's manifest, which holds the hash of every file: verify only, no key is kept here.

    minisign -S -m bundle.json                      the author signs: bundle.json.minisig
    unoise_engine bundle verify B --key author.pub  the receiver checks, with a key that came another way

Format: https://jedisct1.github.io/minisign - Ed25519 over BLAKE2b-512 of the file ("ED"), or over the file itself
("Ed", older), and a second signature over the first and the trusted comment.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

from unoise_engine.errors import Integrity, MissingExtra, Usage
from unoise_engine.models.manifest import MANIFEST, SIGNATURE

LONGEST = 4096  # bytes of a key or signature file


@dataclass(frozen=True)
class PublicKey:
    number: bytes  # 8 bytes, as minisign prints them
    key: bytes  # 32 bytes, Ed25519


def read_key(text: str) -> PublicKey:
    """A minisign public key: the file, or its second line. Raises Usage."""
    try:
        path = Path(text)
        lines = path.read_text(encoding="utf-8")[:LONGEST].splitlines() if path.is_file() else [text]
        raw = base64.b64decode(next(line for line in reversed(lines) if line.strip()), validate=True)
        if len(raw) != 42 or raw[:2] != b"Ed":
            raise ValueError
        return PublicKey(raw[2:10], raw[10:])
    except (ValueError, OSError, StopIteration):
        raise Usage(f"--key {text}", "is no minisign public key", "give the .pub file, or its second line") from None


def verify_signature(folder: Path, key: PublicKey) -> str:
    """Checks bundle.json against bundle.json.minisig and returns the trusted comment.

    Raises Integrity if there is no signature, or one of another key or of other content.
    """
    path = folder / SIGNATURE
    if not path.is_file():
        raise Integrity(folder, f"is not signed (no {SIGNATURE})", "ask its author for the signature")
    try:
        with path.open(encoding="utf-8") as f:
            lines = f.read(LONGEST).splitlines()
        signature = base64.b64decode(lines[1], validate=True)
        comment = lines[2].removeprefix("trusted comment: ")
        over_comment = base64.b64decode(lines[3], validate=True)
        if len(signature) != 74 or len(over_comment) != 64 or comment == lines[2]:
            raise ValueError
    except (ValueError, IndexError):
        raise Integrity(path, "is no minisign signature", "get the bundle again") from None
    if signature[2:10] != key.number:
        raise Integrity(path, "was made with another key", "check whose key you were given")
    content = (folder / MANIFEST).read_bytes()
    if signature[:2] == b"ED":
        content = hashlib.blake2b(content).digest()
    elif signature[:2] != b"Ed":
        raise Integrity(path, "uses an unknown algorithm", "sign it with minisign")
    for signed, by in ((content, signature[10:]), (signature[10:] + comment.encode(), over_comment)):
        if not _holds(key.key, by, signed):
            raise Integrity(path, f"does not fit {MANIFEST}: one of them was altered", "do not use this bundle")
    return comment


def _holds(key: bytes, signature: bytes, content: bytes) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise MissingExtra("cryptography", "signed") from None
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, content)
    except InvalidSignature:
        return False
    return True

"""Bundles from a folder or a zip into the user's own collection, without network and without trust.

An archive is looked through before a byte of it is unpacked; only what the manifest lists is unpacked, piece by piece
and never more than announced; all is verified in a hidden folder before it gets its name.
"""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from unoise_engine.errors import Environment, Integrity, Usage, printable
from unoise_engine.files import copy, new_file, new_folder, refuse_overlap, scratch_folder
from unoise_engine.lock import Busy, held
from unoise_engine.models.bundles import LOCK, models_home, shipped_bundles
from unoise_engine.models.manifest import (
    LARGEST_FILE,
    LITTER,
    MANIFEST,
    SIGNATURE,
    Manifest,
    model_hash,
    read_manifest,
    verify,
)
from unoise_engine.models.signature import PublicKey, verify_signature
from unoise_engine.models.trial import try_out

MOST_ENTRIES = 64
LARGEST_BUNDLE = 4 << 30  # bytes unpacked
HIGHEST_RATIO = 100  # weights hardly shrink; a bomb shrinks a thousandfold
PIECE = 1 << 20
WAIT_SECONDS = 60  # for another installation, which takes some seconds
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


def install(source: Path, key: PublicKey | None = None, overwrite: bool = False) -> tuple[Manifest, Path]:
    """Verifies the bundle in a folder or zip, with its signature if a key is given, and copies it to `models_home()`.

    Returns its manifest and its new folder. Raises Usage, Environment or Integrity; then nothing is installed.
    """
    home = models_home()
    try:
        home.mkdir(parents=True, exist_ok=True)
        with held(home, LOCK, WAIT_SECONDS):
            return _install(source, home, key, overwrite)
    except Busy:
        what = "another installation is at work there"
        raise Environment(home, what, "wait until it is done, then do it again") from None
    except OSError as error:
        cure = "check permissions and free space, or set UNOISE_MODELS to a folder"
        raise Environment(home, f"cannot be written ({error.strerror})", cure) from None


def _install(source: Path, home: Path, key: PublicKey | None, overwrite: bool) -> tuple[Manifest, Path]:
    """The caller holds the lock, and has tidied up."""
    with scratch_folder(home / "install") as opened:
        if source.is_dir():
            _copy(source, opened)
        elif source.is_file() and zipfile.is_zipfile(source):
            _unpack(source, opened)
        else:
            raise Usage(source, "is neither a bundle folder nor a zip", "give one of them")
        manifest = verify(opened)
        if key:
            verify_signature(opened, key)
        try_out(opened)
        final = home / _name(manifest, source)
        if final.exists() and not overwrite:
            raise Environment(final, "is installed already", "add --overwrite to replace it")
        refuse_overlap(final, [source])
        with new_folder(final, overwrite) as partial:
            for name in _wanted(manifest):
                if (opened / name).is_file():
                    copy(opened / name, partial / name)
    return manifest, final


def _name(manifest: Manifest, source: Path) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", manifest.name):
        raise Integrity(source, f"its manifest's name {manifest.name!r} is no folder name", "get the bundle again")
    shipped = shipped_bundles().get(manifest.name)
    if shipped and model_hash(read_manifest(shipped)) != model_hash(manifest):
        raise Integrity(source, f"calls itself {manifest.name}, as a model that ships does", "it must be renamed")
    return manifest.name


def _copy(source: Path, partial: Path) -> None:
    verify(source)  # before anything is copied; the copy is verified again
    for name in _wanted(read_manifest(source)):
        if (source / name).is_file():
            copy(source / name, partial / name)


def _wanted(manifest: Manifest) -> list[str]:
    return [MANIFEST, SIGNATURE, *manifest.files]


def _unpack(archive: Path, partial: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as z:
            entries = _entries(z, archive)
            if MANIFEST not in entries:
                raise Integrity(archive, f"holds no {MANIFEST}", "give a zip of a bundle folder")
            _extract(z, entries[MANIFEST], partial / MANIFEST, 1 << 20, archive)
            for name in _wanted(read_manifest(partial))[1:]:
                if name in entries:
                    _extract(z, entries[name], partial / name, LARGEST_FILE, archive)
    except DAMAGED as error:
        reason = printable(str(error))[:200]
        raise Integrity(archive, f"is a damaged or unusual zip ({reason})", "get the bundle again") from None


def _entries(z: zipfile.ZipFile, archive: Path) -> dict[str, zipfile.ZipInfo]:
    """File name -> entry, the one folder around them all taken off. Raises Integrity for anything hostile."""

    def refuse(what: str) -> Integrity:
        return Integrity(archive, what, "do not use this archive")

    infos = z.infolist()
    if len(infos) > MOST_ENTRIES:
        raise refuse(f"holds {len(infos)} entries, a bundle has fewer than {MOST_ENTRIES}")
    if sum(info.file_size for info in infos) > LARGEST_BUNDLE:
        raise refuse("unpacks to more than any bundle")
    found: dict[str, zipfile.ZipInfo] = {}
    tops: set[str] = set()
    for info in infos:
        parts = PurePosixPath(info.filename).parts
        kind = stat.S_IFMT(info.external_attr >> 16)
        odd = any(c in info.filename for c in '\\:\0<>|"?*') or info.filename.startswith("/")
        if odd or ".." in parts or not parts:
            raise refuse(f"names a place outside itself ({info.filename[:60]!r})")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise refuse(f"holds a link or a device ({info.filename[:60]!r})")
        if info.flag_bits & 1:
            raise refuse("is encrypted")
        if info.file_size > LARGEST_FILE or info.file_size > HIGHEST_RATIO * max(info.compress_size, 1) + PIECE:
            raise refuse(f"is a compression bomb ({info.filename[:60]!r} unpacks to {info.file_size} bytes)")
        if info.is_dir() or parts[0] == "__MACOSX" or parts[-1] in LITTER:  # never unpacked
            continue
        if len(parts) > 2:
            raise refuse("has folders inside the bundle")
        tops.add("/".join(parts[:-1]))
        if parts[-1].lower() in {name.lower() for name in found}:
            raise refuse(f"holds {parts[-1][:60]!r} twice")
        found[parts[-1]] = info
    if len(tops) > 1:
        raise refuse("has files in several folders")
    return found


def _extract(z: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, most: int, archive: Path) -> None:
    """Writes at most what was announced; zipfile itself checks the CRC."""
    left = min(info.file_size, most)
    with z.open(info) as packed, new_file(target) as draft, draft.path.open("wb") as f:
        while piece := _piece(packed):
            left -= len(piece)
            if left < 0:
                raise Integrity(archive, f"{target.name} is larger than announced", "do not use this archive")
            f.write(piece)


def _piece(packed: IO[bytes]) -> bytes:
    try:
        return packed.read(PIECE)
    except Exception as error:  # each way of packing has errors of its own; bzip2's is OSError, as if of the disk
        raise ValueError(error) from None

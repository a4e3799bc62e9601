"""All that the engine writes, replaces or removes: what is the user's stays as it is.

A folder with results holds an inventory, `.unoise.sha256`: a line for each file that was written there, with its hash,
or zeros for one that grows. A file is ours if the inventory beside it lists it with the hash it has now. Anything else,
a result that somebody corrected by hand too, is neither replaced nor removed.

Files and folders are made in a hidden folder, the half, and get their name and place at the end, so nobody meets half
of one. Whoever makes a half holds a lock on its inventory; halves that nobody holds are of killed runs, and go when the
next thing is made beside them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from unoise_engine.errors import Environment, Usage
from unoise_engine.file_lock import POLL_SECONDS, NoLocks, take

INVENTORY = ".unoise.sha256"
WRITE = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)  # no link of somebody's
GROWS = "0" * 64  # instead of the hash of a file that is only ever added to
PARTIAL = re.compile(r"\.(?P<name>.+)-\d+-partial(?P<old>-old)?")


@dataclass
class Draft:
    """Where to write. A writer that knows the `sha256` of what it wrote says so, and the file is compared with it."""

    path: Path
    sha256: str = ""


def refuse_overlap(out: Path, inputs: Iterable[Path], inside_too: bool = True) -> None:
    """Raises Usage if `out` is an input or lies in one, or, `inside_too`, if a folder that is read lies in `out`.

    Links are followed, and names that differ in case alone may mean one file.
    """
    for source in inputs:
        if _within(out, source):
            what = f"is {source} or lies in it, and nothing is written into what is read"
        elif inside_too and source.is_dir() and _within(source, out):
            what = f"holds {source}, and results would lie around what is read"
        else:
            continue
        raise Usage(out, what, "choose another output folder")


def _within(path: Path, folder: Path) -> bool:
    here = path.resolve()
    return folder.exists() and any(home.exists() and home.samefile(folder) for home in (here, *here.parents))


def strangers(path: Path, contents: bool = True) -> Iterator[Path]:
    """The files at this place, or anywhere below it, that are not ours. Without `contents` the names alone decide."""
    if path.is_dir() and not path.is_symlink():
        for name in sorted(os.listdir(path)):
            if name != INVENTORY and not _is_half(path / name):
                yield from strangers(path / name, contents)
    elif os.path.lexists(path) and not _is_ours(path, contents):
        yield path


def altered(path: Path) -> bool:
    """Whether the inventory lists a file, but never with the hash that it has now."""
    hashes = _inventory(path.parent).get(path.name, set())
    return bool(hashes) and GROWS not in hashes and sha256(path) not in hashes


def refuse_strangers(path: Path, contents: bool = True) -> None:
    """Raises Environment if something at this place is not ours."""
    for one in strangers(path, contents):
        what = "was not made here, or was changed since"
        raise Environment(one, what, "move it away, or choose another output folder")


def refuse_earlier(out: Path, patterns: Iterable[str], replace: bool) -> None:
    """Raises Environment if files of these names lie in `out`; with `replace` only if one of them is not ours."""
    for path in (path for pattern in patterns for path in sorted(out.glob(pattern))):
        refuse_strangers(path)
        if not replace:
            raise exists(path, "add --overwrite, or ")


def note(folder: Path, written: Mapping[str, str]) -> None:
    """Adds lines (name -> hash) to the inventory, before the files get their names: a run may be killed at any time."""
    handle = os.open(folder / INVENTORY, WRITE | os.O_APPEND, 0o666)
    try:
        os.write(handle, os.fsencode("".join(f"{digest}  {name}\n" for name, digest in written.items())))
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def new_file(path: Path, replace: bool = False) -> Iterator[Draft]:
    """The draft becomes `path` once it is written, flushed and read back. Raises OSError, and Environment as below.

    A file that exists is left alone: refused, unless it is the same, or, with `replace`, unless it is not ours.
    """
    if replace:
        refuse_strangers(path)
    in_half = bool(PARTIAL.fullmatch(path.parent.name))  # all of it is ours, and hashed at the end
    with ExitStack() as stack:
        home = path.parent if in_half else stack.enter_context(_half(path.with_name(path.name[-48:]), parents=False))[0]
        draft = Draft(home / f".unoise-{secrets.token_hex(4)}-{path.name[-48:]}")  # its end tells the format
        try:
            yield draft
            if draft.sha256 or not in_half:
                _settle(draft)
            if replace:
                refuse_strangers(path)
            elif path.is_file() and not path.is_symlink() and sha256(path) == draft.sha256:
                return
            elif os.path.lexists(path):
                raise exists(path)
            if not in_half:
                note(path.parent, {path.name: draft.sha256})
            os.replace(draft.path, path)
        finally:
            draft.path.unlink(missing_ok=True)


def write(path: Path, content: str | bytes, replace: bool = False, mode: int = 0o666) -> None:
    """Text as UTF-8 with plain line ends. Raises as `new_file`."""
    plain = content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
    with new_file(path, replace) as draft, open(os.open(draft.path, WRITE | os.O_EXCL, mode), "wb") as file:
        file.write(plain)
        draft.sha256 = hashlib.sha256(plain).hexdigest()


def copy(source: Path, target: Path, replace: bool = False) -> None:
    """The content of a file. Raises as `new_file`."""
    with new_file(target, replace) as draft:
        shutil.copyfile(source, draft.path, follow_symlinks=False)


def write_json(path: Path, content: object, replace: bool = False) -> None:
    """Indented, in ASCII: names of files may hold bytes that are no text. Raises as `new_file`."""
    write(path, json.dumps(content, indent=1) + "\n", replace)


def grow(path: Path, mode: int = 0o666) -> int:
    """A handle that adds to a file, which is made if need be; whoever asks closes it. Raises OSError, Environment."""
    refuse_strangers(path)
    if not path.exists():
        note(path.parent, {path.name: GROWS})
    return os.open(path, WRITE ^ os.O_WRONLY | os.O_RDWR | os.O_APPEND, mode)


@contextmanager
def new_folder(final: Path, replace: bool = False, inventory: bool = True) -> Iterator[Path]:
    """A half that becomes `final` at the end, whole or not at all.

    Raises OSError, and Environment if something exists there; with `replace` only if not all of it is ours.
    """
    _check_place(final, replace)
    with _half(final) as (partial, lock):
        yield partial
        if inventory:
            hash_all(partial)
        _check_place(final, replace)
        if os.name == "nt":  # no folder is renamed there in which a file is open
            lock.close()
        _take_place(partial, final)
        if not inventory:  # last: without it nobody would know whose the half of a killed run is
            (final / INVENTORY).unlink()


@contextmanager
def scratch_folder(final: Path) -> Iterator[Path]:
    """A half beside `final` that goes at the end. Raises OSError."""
    with _half(final) as (partial, _):
        yield partial


@contextmanager
def _half(final: Path, parents: bool = True) -> Iterator[tuple[Path, ExitStack]]:
    """The folder, and what gives up the lock on it. `parents` are made too where they are missing."""
    with suppress(OSError):
        tidy(final.parent)
    partial = final.with_name(f".{final.name}-{secrets.randbelow(10**9)}-partial")
    lock = ExitStack()
    try:
        partial.mkdir(parents=parents)
        with suppress(NoLocks):  # then nobody takes it away later
            while (handle := take(partial / INVENTORY)) is None:
                time.sleep(POLL_SECONDS)  # somebody just looks whether it is held
            lock.callback(os.close, handle)
        yield partial, lock
    finally:
        lock.close()
        _discard(partial)


def hash_all(partial: Path) -> dict[str, dict[str, str | int]]:
    """Name -> sha256 and bytes of the files in a folder that is being made. They are read back, flushed and noted."""
    found: dict[str, dict[str, str | int]] = {}
    known = _inventory(partial)
    for path in sorted(p for p in partial.iterdir() if p.is_file() and p.name not in (INVENTORY, *known)):
        found[path.name] = {"sha256": sha256(flushed(path)), "bytes": path.stat().st_size}
    note(partial, {name: str(one["sha256"]) for name, one in found.items()})
    return found


def remove(*paths: Path) -> None:
    """Files and folders, where there are any. Raises Environment, and removes nothing, if not all of it is ours."""
    for path in paths:
        refuse_strangers(path)
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """A folder of which the caller knows that all of it is ours. It gets a hidden name first, so that nobody meets half
    of it. Raises OSError; then it is all there."""
    gone = folder.with_name(f".{folder.name}-{secrets.randbelow(10**9)}-partial")
    os.replace(folder, gone)
    _discard(gone)


def remove_empty(path: Path) -> None:
    """A file or folder that holds nothing; anything else stays."""
    if path.is_dir():
        path.rmdir()
    elif path.stat().st_size == 0:
        path.unlink()


def tidy(home: Path) -> None:
    """Removes the halves that killed runs left in a folder, and gives back what one of them was just replacing. What
    somebody is at work on stays, and all that is not ours. Raises OSError."""
    for name in sorted(os.listdir(home)):
        half, path = PARTIAL.fullmatch(name), home / name
        if half is None or path.is_symlink() or not path.is_dir():
            continue
        with ExitStack() as lock:  # held meanwhile: its maker may be about to take it
            try:
                handle = take(path.with_name(name.removesuffix("-old")) / INVENTORY, make=False)
                if handle is None:
                    continue
                lock.callback(os.close, handle)
            except FileNotFoundError:  # an earlier folder, whose successor has got its place or is gone
                pass
            except OSError:
                continue
            if not (path / INVENTORY).is_file():
                with suppress(OSError):  # killed before it held anything; a folder that holds something is not ours
                    path.rmdir()
            elif half["old"] and not os.path.lexists(home / half["name"]):
                with suppress(FileNotFoundError):  # another one gives it back
                    os.replace(path, home / half["name"])
            else:
                _discard(path)
                if os.name == "nt":  # what is open cannot be removed there
                    lock.close()
                    _discard(path)


def sha256(path: Path) -> str:
    """Of a regular file, in hex, read piece by piece. Raises OSError."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_regular(path: Path) -> BufferedReader:
    """Opens a regular file for reading, links followed. Raises OSError, for a pipe, device, socket or folder too.

    Those are not waited for, and not even opened where they can be told before.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):  # exchanged in between
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return os.fdopen(handle, "rb")


def flushed(path: Path) -> Path:
    """The same file, which is on the disk now."""
    with path.open("r+b") as file:  # Windows flushes only what is open for writing
        os.fsync(file.fileno())
    return path


def exists(path: Path, cure: str = "") -> Environment:
    return Environment(path, "exists already", f"{cure}choose another output folder")


def _inventory(folder: Path) -> dict[str, set[str]]:
    """Name -> the hashes it was written with, the last one and earlier ones."""
    found: dict[str, set[str]] = {}
    try:
        lines = os.fsdecode((folder / INVENTORY).read_bytes()).split("\n")
    except OSError:
        return found
    for line in lines:
        digest, _, name = line.partition("  ")
        found.setdefault(name, set()).add(digest)
    return found


def _is_half(path: Path) -> bool:
    return bool(PARTIAL.fullmatch(path.name)) and not path.is_symlink() and (path / INVENTORY).is_file()


def _is_ours(path: Path, contents: bool) -> bool:
    if path.is_symlink() or not path.is_file() or path.name not in _inventory(path.parent):
        return False
    now = sha256(path) if contents else ""
    hashes = _inventory(path.parent)[path.name]  # read last: another run may just have noted and renamed the file
    return not contents or GROWS in hashes or now in hashes


def _settle(draft: Draft) -> None:
    """A full disk is not always told: what was written is read back."""
    found = sha256(flushed(draft.path))
    if draft.sha256 not in ("", found):
        raise OSError(errno.EIO, "the file does not read back as written")
    draft.sha256 = found


def _check_place(final: Path, replace: bool) -> None:
    if os.path.lexists(final):
        if not replace:
            raise exists(final)
        if final.is_symlink() or not final.is_dir():
            what = "is no folder that was made here"
            raise Environment(final, what, "move it away, or choose another output folder")
        refuse_strangers(final)


def _take_place(partial: Path, final: Path) -> None:
    """An earlier folder goes away only once the new one is in its place."""
    if not final.exists():
        os.replace(partial, final)
        return
    old = partial.with_name(partial.name + "-old")
    os.replace(final, old)
    try:
        os.replace(partial, final)
    except OSError:
        os.replace(old, final)
        raise
    _discard(old)


def _discard(folder: Path) -> None:
    """The inventory goes last: by it the next run knows that the rest is ours, should this one be killed."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != INVENTORY:
                path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)

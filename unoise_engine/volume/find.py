"""What the paths given by the user contain: image files and DICOM series, each one case."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from unoise_engine.errors import CaseRefused, Usage, printable
from unoise_engine.files import INVENTORY
from unoise_engine.volume.case import Case, Reading, ReadSettings, find_again, of_image, of_refusal, of_series
from unoise_engine.volume.dicom_images import Image, NotASlice, read_images
from unoise_engine.volume.layout import unreadable_file
from unoise_engine.volume.names import distinct, safe_id
from unoise_engine.volume.part10 import is_dicom
from unoise_engine.volume.read import DETACHED_SUFFIXES, is_header, is_image
from unoise_engine.volume.search import Search, Watch, say
from unoise_engine.volume.series import Series, group

__all__ = ["Case", "ReadSettings", "Reading", "find_again", "find_cases"]
KINDS = ".nii, .nii.gz, .nrrd, .mha, .mhd or a DICOM folder"


@dataclass(frozen=True)
class _Broken:
    """A file that should have been a slice; of which series, where its header says so."""

    path: Path
    reason: str
    series: str


@dataclass
class _Found:
    """What a folder holds. `skipped` maps a reason to the files it holds for."""

    images: list[Image] = field(default_factory=list)
    volumes: list[Path] = field(default_factory=list)
    skipped: dict[str, list[Path]] = field(default_factory=dict)
    broken: list[_Broken] = field(default_factory=list)
    lost: dict[Path, CaseRefused] = field(default_factory=dict)  # folder -> why nothing can be read of it

    def skip(self, path: Path, reason: str) -> None:
        self.skipped.setdefault(reason, []).append(path)

    def spoil(self, path: Path, reason: str, series: str = "") -> None:
        self.skip(path, reason)
        self.broken.append(_Broken(path, reason, series))


def find_cases(
    paths: list[Path],
    settings: ReadSettings | None = None,
    tell: Callable[[str, str], None] = lambda sentence, names: None,
    watch: Watch = say,
) -> list[Case]:
    """Image files, DICOM files and folders -> cases with distinct ids, in the order given.

    Folders are searched with their sub-folders, links are not followed. What is no CT is told, a sentence a kind, with
    the names of some files; `watch` hears how far a long search has come. A path that holds nothing to explain, or more
    than search.MOST_FILES files, becomes a case that is refused when read, so that the others go on; Usage is raised if
    that is all there is.
    """
    how = settings or ReadSettings()
    cases: list[Case] = []
    nothing: list[CaseRefused] = []
    for path in paths:
        try:
            cases += _in_folder(path, how, tell, watch) if path.is_dir() else [*_in_file(path, how)]
        except CaseRefused as error:
            nothing.append(error)
            cases.append(of_refusal(path, error))
        except OSError as error:  # a name too long, a loop of links
            nothing.append(unreadable_file(path, error))
            cases.append(of_refusal(path, nothing[-1]))
    if cases and len(nothing) == len(cases):
        raise Usage(nothing[0].source, nothing[0].what, nothing[0].cure)
    ids = distinct(c.id for c in cases)
    return [replace(c, id=name) for c, name in zip(cases, ids)]


def _in_file(path: Path, how: ReadSettings) -> Iterator[Case]:
    if not path.exists():
        raise CaseRefused("NOT_FOUND", path, "does not exist", "check the path")
    if not path.is_file():
        raise CaseRefused("UNREADABLE", path, "is no regular file (but a pipe, device or socket)", f"give {KINDS}")
    if is_image(path) or is_header(path):
        yield of_image(path, _stem(path), how)
        return
    if not is_dicom(path):
        raise CaseRefused("UNREADABLE", path, "is not a kind of file that is read here", f"give {KINDS}")
    try:
        series = group(read_images(path, how.modality))
    except NotASlice as reason:
        wanted = f"of a {how.modality}" if how.modality == "CT" else f"of an {how.modality} image"
        raise CaseRefused(
            f"NOT_{how.modality}", path, f"is no slice {wanted}: it is {reason}", f"give the folder {wanted}"
        ) from None
    for part, one in enumerate(series):
        yield of_series(one, path, path.stem, how, part, one.apart)


def _in_folder(folder: Path, how: ReadSettings, tell: Callable[[str, str], None], watch: Watch) -> list[Case]:
    search = Search(folder)
    with search.told(watch):
        found = _look_through(search, how.modality)
    for reason, skipped in found.skipped.items():
        names = ", ".join(str(p.relative_to(folder)) for p in skipped[:3]) + (", ..." if len(skipped) > 3 else "")
        tell(printable(f"SKIPPED {len(skipped)} x {reason}"), printable(f"({names})"))
    series = group(found.images)
    homes = [_home(s) for s in series]
    cases = []
    for k, (one, home) in enumerate(zip(series, homes)):
        name = _id_below(folder, home) + (f"-series{one.number}" if homes.count(home) > 1 else "")
        part = sum(other.files == one.files for other in series[:k])
        cases.append(of_series(one, home, name, how, part, (*one.apart, *_broken_beside(one, found))))
    cases += [of_image(p, _id_below(folder, p.with_name(_stem(p))), how) for p in found.volumes]
    if not cases:
        kinds = "; ".join(f"{len(p)} x {reason}" for reason, p in found.skipped.items()) or "no files"
        wanted = "CT" if how.modality == "CT" else f"{how.modality} image"
        raise CaseRefused("NO_CT", folder, f"holds no {wanted} ({kinds})", f"give {KINDS}")
    return cases + [replace(of_refusal(p, why), id=_id_below(folder, p)) for p, why in _lost(found, series).items()]


def _lost(found: _Found, series: list[Series]) -> dict[Path, CaseRefused]:
    """Folders that should hold a case and give none: counted among the inputs, or nobody would miss them."""
    homes = {path.parent for one in series for path in one.files}
    lost = dict(found.lost)
    for home in {b.path.parent for b in found.broken} - homes:
        here = [b for b in found.broken if b.path.parent == home]
        here = [b for b in here if _slice_like(b.path.name) or _has_content(b.path)]  # not an empty flag file
        if here:
            names = ", ".join(b.path.name for b in here[:3]) + (", ..." if len(here) > 3 else "")
            what = f"none of its {len(here)} DICOM files can be read ({names}: {_most(here)})"
            lost[home] = CaseRefused("UNREADABLE", home, what, "copy or export the CT again")
    return dict(sorted(lost.items()))


def _most(broken: list[_Broken]) -> str:
    """The reason of most of them."""
    return Counter(b.reason for b in broken).most_common(1)[0][0]


def _slice_like(name: str) -> bool:
    return name.lower().endswith((".dcm", ".ima"))


def _has_content(path: Path) -> bool:
    try:
        return path.lstat().st_size > 0
    except OSError:
        return True


def _look_through(search: Search, modality: str) -> _Found:
    found = _Found()

    def unreadable(error: OSError) -> None:
        home = Path(error.filename or search.folder)
        found.skip(home, f"unreadable folder ({error.strerror})")
        found.lost[home] = unreadable_file(home, error)

    def again(home: Path) -> None:
        found.skip(home, "a folder that was looked through already, under another name")

    for home, folders, names in search.walk(unreadable, again):
        if "report.json" in names and any(n.startswith("segmentation.") for n in names):
            found.skip(home, "results of an earlier run")
            folders.clear()
            continue
        for name in sorted(folders):
            if (home / name).is_symlink():
                found.skip(home / name, "a link, which is not followed")
            elif name.startswith("."):
                found.skip(home / name, "hidden folder")
        folders[:] = sorted(f for f in folders if not f.startswith(".") and not (home / f).is_symlink())
        for name in sorted(names):
            _look_at(home / name, found, modality)
            search.count()
    return found


def _look_at(path: Path, found: _Found, modality: str) -> None:
    name = path.name.lower()
    try:
        status = path.lstat()
        if name == INVENTORY:
            return
        if name.startswith("."):
            found.skip(path, "hidden file")
        elif stat.S_ISLNK(status.st_mode):
            found.skip(path, "a link, which is not followed")
        elif not stat.S_ISREG(status.st_mode):
            found.skip(path, "no regular file")
        elif is_image(path) or is_header(path):
            found.volumes.append(path)
        elif is_dicom(path):
            found.images += read_images(path, modality)
        elif _slice_like(name) or status.st_size == 0:
            found.spoil(path, "empty file" if status.st_size == 0 else "no DICOM, though its name says so")
        elif not _belongs_to_header(path):
            found.skip(path, "neither DICOM nor a CT volume")
    except NotASlice as reason:
        if reason.series is None:
            found.skip(path, str(reason))
        else:
            found.spoil(path, str(reason), reason.series)
    except CaseRefused as error:
        found.spoil(path, f"unreadable ({error.code})")
    except (OSError, MemoryError) as error:
        why = "needs more memory than is free" if isinstance(error, MemoryError) else error.strerror
        found.spoil(path, f"unreadable ({why})")


def _belongs_to_header(path: Path) -> bool:
    """The voxels of an .mhd, .nhdr or .hdr beside it."""
    return any(path.with_suffix(s).is_file() for s in (".mhd", *DETACHED_SUFFIXES))


def _broken_beside(series: Series, found: _Found) -> list[str]:
    """A sentence on what should have been slices of the series, for all that can be told."""
    homes = {p.parent for p in series.files}
    beside = [b for b in found.broken if (b.series == series.uid if b.series else b.path.parent in homes)]
    if not beside:
        return []
    verb = (
        "files beside its slices cannot be read and were"
        if len(beside) > 1
        else "file beside its slices cannot be read and was"
    )
    return [f"{len(beside)} {verb} left out ({_most(beside)})"]


def _home(series: Series) -> Path:
    return Path(os.path.commonpath([p.parent for p in series.files]))


def _id_below(folder: Path, path: Path) -> str:
    """A case's id from its place below the folder that was given; the folder's own name for the folder itself."""
    parts = path.relative_to(folder).parts
    return safe_id("-".join(parts) if parts else folder.resolve().name)


def _stem(path: Path) -> str:
    name = path.name
    return name[: -len(".nii.gz")] if name.lower().endswith(".nii.gz") else path.stem

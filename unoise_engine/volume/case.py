"""One CT to explain: what it is called, which files hold it, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unoise_engine.errors import CaseRefused
from unoise_engine.volume.budget import Deadline
from unoise_engine.volume.dicom import read_series
from unoise_engine.volume.dicom_images import NotASlice, read_images
from unoise_engine.volume.layout import unreadable_file
from unoise_engine.volume.metaimage import beside
from unoise_engine.volume.names import safe_id
from unoise_engine.volume.read import is_header, is_image, read_straight
from unoise_engine.volume.series import Series, group
from unoise_engine.volume.straighten import Planes
from unoise_engine.volume.volume import Volume


@dataclass(frozen=True)
class ReadSettings:
    """What the user vouches for. `fill_gaps`: missing slices may be interpolated. `trust_hu`: values are HU even where
    the header or the histogram speaks against it. `modality`: images of another kind than CT are taken as they are."""

    fill_gaps: bool = False
    trust_hu: bool = False
    modality: str = "CT"


@dataclass(frozen=True)
class Reading:
    """A CT as read.

    `notes` says what had to be corrected, a sentence each. `slice_files` and `slice_frames` (from 1) name the DICOM
    image of each slice of `ct` (z order; empty for other formats). Where `ct` was resampled, `planes` says where the
    slices were taken, in the order of `original_files` and `original_frames`, and the former two are empty:
    `planes.bring_back` lays results on those slices.
    """

    ct: Volume
    notes: tuple[str, ...] = ()
    slice_files: tuple[Path, ...] = ()
    slice_frames: tuple[int, ...] = ()
    planes: Planes | None = None
    original_files: tuple[Path, ...] = ()
    original_frames: tuple[int, ...] = ()


@dataclass(frozen=True)
class Case:
    """One CT to explain: the path that the user gave or that was found in it, and the files that hold it.

    `id` names its folder of results and is safe on every file system. `part` counts the series that the same files
    hold, and `notes` are sentences of its finding: `find_again` needs both.
    """

    id: str
    source: Path
    paths: tuple[Path, ...]
    read: Callable[[], Reading]
    part: int = 0
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> int:
        return len(self.paths)


def of_image(path: Path, name: str, how: ReadSettings) -> Case:
    """`name` becomes the id."""

    def read() -> Reading:
        ct, notes, planes = read_straight(path, how.trust_hu, Deadline(), how.modality)
        return Reading(ct, tuple(notes), planes=planes)

    return Case(safe_id(name), path, (path, *beside(path)), lambda: guarded(path, read))


def of_series(
    series: Series, source: Path, name: str, how: ReadSettings, part: int = 0, notes: Sequence[str] = ()
) -> Case:
    """`source` names the series in messages, `name` becomes the id."""

    def read() -> Reading:
        found = read_series(series, source, how.fill_gaps, how.trust_hu, Deadline())
        files = tuple(i.path for i in found.images)
        frames = tuple(i.frame + 1 for i in found.images)
        said = (*notes, *found.notes)
        if found.planes is None:
            return Reading(found.ct, said, files, frames)
        return Reading(found.ct, said, planes=found.planes, original_files=files, original_frames=frames)

    return Case(safe_id(name), source, series.files, lambda: guarded(source, read), part, tuple(notes))


def of_refusal(path: Path, error: CaseRefused) -> Case:
    """A case that is refused when read, so that it costs the others nothing."""

    def read() -> Reading:
        raise error

    return Case(safe_id(path.name or path.resolve().name), path, (), read)


def find_again(
    source: Path,
    paths: Sequence[Path],
    settings: ReadSettings | None = None,
    part: int = 0,
    notes: Sequence[str] = (),
) -> Case:
    """The case of exactly these files, in another process than the one that found it. Raises CaseRefused."""
    how = settings or ReadSettings()
    if not paths:
        raise CaseRefused("NO_CT", source, "holds nothing to explain", "check the path")
    if is_image(paths[0]) or is_header(paths[0]):
        return replace(of_image(paths[0], source.name, how), source=source)
    try:
        series = group([image for path in paths for image in read_images(path, how.modality)])
        return of_series(series[part], source, source.name or source.resolve().name, how, part, notes)
    except (NotASlice, IndexError):
        what = "has changed since it was looked at"
        raise CaseRefused("UNREADABLE", source, what, "leave the files as they are while a run lasts") from None


def guarded(source: object, read: Callable[[], Reading]) -> Reading:
    """Whatever a hostile file leads to is a refusal of this case."""
    try:
        return read()
    except MemoryError:
        what, cure = "needs more memory than is free", "close other programs, or crop the CT to the abdomen"
        raise CaseRefused("NO_MEMORY", source, what, cure) from None
    except OSError as error:
        raise unreadable_file(source, error) from error
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        what = f"cannot be read ({type(error).__name__})"
        raise CaseRefused("UNREADABLE", source, what, "export the CT again, and report this file if you can") from error

"""`unoise_engine.explain`: one CT from wherever Python has it, and what was found in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from unoise_engine.errors import Usage
from unoise_engine.explanation.settings import Settings
from unoise_engine.files import new_folder
from unoise_engine.models.bundles import DEFAULT_BUNDLE, load_bundle
from unoise_engine.models.given import OnGrid, modality_of
from unoise_engine.models.session import Bundle
from unoise_engine.progress import clock, progress_of
from unoise_engine.results.account import Account
from unoise_engine.results.case_folder import write_case
from unoise_engine.results.picture import Picture
from unoise_engine.results.settings import ResultSettings
from unoise_engine.volume.case import Case, ReadSettings
from unoise_engine.volume.counting import slice_range
from unoise_engine.volume.find import find_cases
from unoise_engine.volume.memory import of_memory
from unoise_engine.volume.volume import Volume
from unoise_engine.volume.write import cannot_write, to_image

if TYPE_CHECKING:
    import SimpleITK as sitk
    from matplotlib.figure import Figure

SEGMENTATION = "segmentation"


class NibabelImage(Protocol):
    """What is used of a nibabel image, which need not be installed."""

    dataobj: Any
    affine: Any
    header: Any


class Explanation(Mapping[str, np.ndarray]):
    """The results of one CT by name: "segmentation", then the methods; arrays (z, y, x) on the CT's own grid.

    The segmentation is uint8, maps are float32, larger is more important. Arrays are made when they are asked for.
    `ct` is the CT as it was read, in HU; `warnings` say what speaks against trusting the result, `notes` what was
    corrected and what else is worth knowing, `seconds` how long each stage took.
    """

    def __init__(self, case: Case, account: Account, results: dict[str, OnGrid]):
        self._case, self._account = case, account
        self._results = {name.removeprefix("importance-"): one for name, one in results.items()}
        self._arrays: dict[str, np.ndarray] = {}
        self.ct: Volume = account.reading.ct
        self.warnings: list[str] = account.warnings
        self.notes: list[str] = [*account.reading.notes, *account.notes]
        self.seconds: dict[str, float] = account.seconds

    def __getitem__(self, name: str) -> np.ndarray:
        """Raises KeyError, which names what there is."""
        if name not in self._results:
            raise KeyError(f"{name}: there are {', '.join(self._results)}")
        if name not in self._arrays:
            self._arrays[name] = self._results[name].voxels
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    @property
    def segmentation(self) -> np.ndarray:
        """(z, y, x) uint8; the organ has its label's number, the rest 0."""
        return self[SEGMENTATION]

    @property
    def maps(self) -> dict[str, np.ndarray]:
        """The maps by their methods' names, (z, y, x) float32."""
        return {name: self[name] for name in self if name != SEGMENTATION}

    @property
    def organ_ml(self) -> float:
        """Volume of the segmentation."""
        return float(self._account.organ["volume_ml"])

    @property
    def axial_slice(self) -> int | None:
        """The one with most organ, counted from 1 at the feet; None where none was found."""
        found: int | None = self._account.organ["axial_slice_from_feet"]
        return found

    def volume(self, name: str) -> Volume:
        """One result with its grid."""
        return self.ct.with_voxels(self[name])

    def to_sitk(self, name: str) -> sitk.Image:
        """One result as a SimpleITK image, with the CT's origin, spacing and direction."""
        return to_image(self.volume(name))

    def save(self, folder: str | os.PathLike[str], format: str = "nifti", overwrite: bool = False) -> Path:
        """Writes what the command line writes of a case, but for view.html: volumes ("nifti" or "nrrd") or DICOM
        objects ("dicom"), overview.png and report.json. Returns the folder, whose name is the case's.

        Raises Environment if the folder exists, unless `overwrite`, or cannot be written; Usage, MissingExtra or
        CaseRefused for a format that cannot be.
        """
        home, how = Path(folder), ResultSettings(format)
        account = replace(self._account, seconds={**self.seconds}, notes=[*self._account.notes])
        results = {n if n == SEGMENTATION else f"importance-{n}": one for n, one in self._results.items()}
        try:
            with new_folder(home, overwrite) as partial:
                write_case(partial, account, replace(self._case, id=home.name), results.items(), [*results], how)
        except OSError as error:
            raise cannot_write(home, error) from None
        return home

    def plot(self, axial_slice: int | None = None) -> Figure:
        """The picture overview.png: the CT with the outline, and a panel a method. `axial_slice` counts from 1 at the
        feet; left out, it is the one with most organ. Raises MissingExtra without matplotlib, Usage outside the CT.
        """
        account = self._account
        k = account.middle if axial_slice is None else axial_slice - 1
        if not 0 <= k < account.slices:
            raise Usage(f"axial_slice {axial_slice}", "is not in the CT", f"choose within 1 to {account.slices}")
        picture = Picture(account, self._results[SEGMENTATION], k, needed=True)
        for name, one in self._results.items():
            if name != SEGMENTATION:
                picture.add(name, one, account.verdict(name))
        return picture.figure(self._case.id)

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.ct.grid.size))
        found = f"{self._account.organ['name']} {self.organ_ml:.1f} ml" if self.organ_ml else "nothing found"
        said = f"; {n} warning{'s' * (n > 1)}" if (n := len(self.warnings)) else ""
        return f"<Explanation: {found} in {size} voxels; {', '.join(self)}{said}>"


def explain(
    ct: str | os.PathLike[str] | np.ndarray | Volume | sitk.Image | NibabelImage,
    methods: str | Sequence[str] = (),
    bundle: str | os.PathLike[str] | Bundle = DEFAULT_BUNDLE,
    device: str = "auto",
    label: str | Sequence[str] = "",
    *,
    slices: str | int | tuple[int, int] | None = None,
    spacing: Sequence[float] | None = None,
    origin: Sequence[float] | None = None,
    direction: Sequence[float] | np.ndarray | None = None,
    progress: bool | Callable[[str, float], object] | None = None,
    fill_gaps: bool = False,
    trust_hu: bool = False,
) -> Explanation:
    """Segments one CT and shows what the model looked at.

    Args:
        ct: A path (image file or DICOM folder), a `SimpleITK.Image`, a nibabel image, a numpy array in HU or a
            `Volume`. What is in memory is copied, not changed, and checked as files are.
        methods: Names, or one text with commas; left out, those that take seconds.
        bundle: The model: a name, a bundle's folder, or what `load_bundle` gave, which saves opening it again.
        device: "auto", "cpu" or "cuda".
        label: What a model of several labels is asked about; several are taken as one.
        slices: Axial slices to explain, counted from 1 at the feet, both ends included: "40:60", (40, 60) or 40.
        spacing: Of an array, which is (z, y, x): (x, y, z) in mm, as SimpleITK has it.
        origin: Of an array: centre of its first voxel, (x, y, z) in mm, LPS. Left out: (0, 0, 0).
        direction: Of an array: the 3 x 3 cosines of SimpleITK, LPS. Left out: the identity, so that the first slice is
            at the feet, rows run to the back and columns to the patient's left.
        progress: True for a bar (lines where nobody watches), or a function, called with a stage's name and how much of
            it is done, 0 to 1.
        fill_gaps: Interpolate slices that are missing.
        trust_hu: Take values for HU even if they look wrong.

    Raises:
        CaseRefused: The CT cannot be explained as given.
        Usage, Environment, Integrity: The call, the machine or the model is at fault (`unoise_engine.errors`).

    Examples:
        >>> import unoise_engine
        >>> found = unoise_engine.explain("ct.nii.gz", methods="unoise,gradcam")
        >>> found                                                           # doctest: +ELLIPSIS
        <Explanation: pancreas ... ml in 96 x 96 x 24 voxels; segmentation, unoise, gradcam...>
        >>> found["unoise"].shape, found["unoise"].dtype
        ((24, 96, 96), dtype('float32'))

        An array is (z, y, x), its spacing (x, y, z):

        >>> import SimpleITK as sitk
        >>> image = sitk.ReadImage("ct.nii.gz")
        >>> array, spacing = sitk.GetArrayFromImage(image), image.GetSpacing()
        >>> some = unoise_engine.explain(array, "unoise", spacing=spacing, slices="10:14")
        >>> sorted(some)
        ['segmentation', 'unoise']

        Results as SimpleITK images lie where the CT lies; `save` writes the files that the command line writes:

        >>> found.to_sitk("unoise").GetOrigin() == image.GetOrigin()
        True
        >>> sorted(path.name for path in found.save("results").glob("[!.]*"))  # doctest: +NORMALIZE_WHITESPACE
        ['importance-gradcam.nii.gz', 'importance-unoise.nii.gz', 'overview.png', 'report.json',
         'segmentation.nii.gz']
    """
    wanted = _names(methods)
    opened = _opened(bundle, device, label)
    settings = Settings(wanted, _slices(slices)).for_model(opened)
    case = _case_of(ct, ReadSettings(fill_gaps, trust_hu, modality_of(opened.recipe)), (spacing, origin, direction))
    seconds: dict[str, float] = {}
    with clock(seconds, "read"):
        reading = case.read()
    account = Account(reading, opened, settings, seconds)
    return Explanation(case, account, dict(account.explained(progress_of(progress), case.id)))


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    parts = given.split(",") if isinstance(given, str) else given
    if not isinstance(parts, Sequence) or not all(isinstance(part, str) for part in parts):
        raise Usage(repr(given), "are no names", "give a text with commas, or a list of texts")
    return tuple(dict.fromkeys(name for part in parts if (name := part.strip())))


def _opened(bundle: str | os.PathLike[str] | Bundle, device: str, label: str | Sequence[str]) -> Bundle:
    labels = ",".join(_names(label))
    if not isinstance(bundle, Bundle):
        return load_bundle(Path(bundle) if isinstance(bundle, os.PathLike) else bundle, device, label=labels)
    if labels:
        raise Usage("label", "is chosen when a bundle is opened", "give it to load_bundle")
    return bundle


def _slices(given: str | int | tuple[int, int] | None) -> tuple[int, int] | None:
    if given is None:
        return None
    if isinstance(given, int):
        given = (given, given)
    text = ":".join(map(str, given)) if isinstance(given, Sequence) and not isinstance(given, str) else str(given)
    return slice_range(text, "slices")


def _case_of(ct: object, how: ReadSettings, placed: tuple[Any, Any, Any]) -> Case:
    if not isinstance(ct, str | os.PathLike):
        return of_memory(ct, how, *placed)
    if any(one is not None for one in placed):
        raise Usage("spacing, origin, direction", "are for arrays, and a file says its own", "leave them out")
    cases = find_cases([Path(ct)], how)
    if len(cases) > 1:
        raise Usage(ct, f"holds {len(cases)} CTs", "give one of them")
    return cases[0]

"""How results are written."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from unoise_engine.errors import MissingExtra, Usage
from unoise_engine.volume.write import SUFFIXES

FORMATS = (*SUFFIXES, "dicom")
CROPS = ("body", "organ", "none")  # what view.html holds of the CT


@dataclass(frozen=True)
class ResultSettings:
    """`picture` (overview.png) and `compress` (NRRD only) are for programs that read results at once and keep none of
    the files. `view` (view.html) is for people; it holds the CT, or what of it `crop` says. DICOM only: `de_identify`
    leaves the patient out, `display_maps` writes each map once more, as shares of its largest value, 0 to 1."""

    format: str = "nifti"
    picture: bool = True
    compress: bool = True
    view: bool = False
    crop: str = "body"
    de_identify: bool = False
    display_maps: bool = False

    def __post_init__(self) -> None:
        """Raises Usage or MissingExtra if results cannot be written so."""
        if self.format not in FORMATS:
            raise Usage(f"--format {self.format}", "unknown", f"choose from {', '.join(FORMATS)}")
        if self.crop not in CROPS:
            raise Usage(f"--crop {self.crop}", "unknown", f"choose from {', '.join(CROPS)}")
        if self.format == "dicom" and find_spec("highdicom") is None:
            raise MissingExtra("highdicom", "dicom")
        if self.de_identify and self.format != "dicom":
            what = "is for --format dicom: NIfTI and NRRD never carry patient data"
            raise Usage("--de-identify", what, "leave it out")
        if self.display_maps and self.format != "dicom":
            raise Usage("--display-maps", "is for --format dicom", "leave it out")
        if not self.compress and self.format != "nrrd":
            raise Usage("compress", f"is always so for {self.format}", "choose nrrd to write without")

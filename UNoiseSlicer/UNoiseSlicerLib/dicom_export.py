"""Results as DICOM objects beside the CT they belong to: which files it came from, and the engine's run that writes.

Slicer keeps the instance UIDs of a volume's slices in an attribute; its DICOM database knows their files.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from UNoiseSlicerLib import exchange
from UNoiseSlicerLib import scene as scenes
from UNoiseSlicerLib.engine_run import EngineRun, check_room
from UNoiseSlicerLib.exchange import Refused

if TYPE_CHECKING:
    from UNoiseSlicerLib.logic import UNoiseSlicerLogic

INSTANCES = "DICOM.instanceUIDs"  # set by Slicer's DICOM reader: one a slice, or one of a multi-frame file
WRITER = "highdicom"


def why_not(ct: Any) -> str:
    """Why the results of a CT cannot be written as DICOM; empty if they can, as far as is known without the files."""
    if ct is None or ct.GetImageData() is None:
        return _("No CT volume is chosen.")
    uids = (ct.GetAttribute(INSTANCES) or "").split()
    if not uids:
        return _(
            "{ct} was not loaded from DICOM, so there is no study to which DICOM results could belong - export NRRD, "
            "or load the CT by the DICOM module."
        ).format(ct=ct.GetName())
    if importlib.util.find_spec(WRITER) is None:
        return _(
            "Writing DICOM needs the Python package {package} - in Slicer's Python console run: "
            "slicer.util.pip_install('--no-deps --only-binary=:all: {package}')"
        ).format(package=WRITER)
    return ""


def source_files(ct: Any, database: Any) -> list[Path]:
    """The DICOM files that the slices came from. Raises Refused."""
    uids = (ct.GetAttribute(INSTANCES) or "").split()
    files = [Path(found) for uid in uids if (found := database.fileForInstance(uid) if database is not None else "")]
    gone = len(uids) - sum(path.is_file() for path in files)
    if gone:
        raise Refused(
            _("{gone} of the {total} DICOM files of {ct} are not in Slicer's DICOM database any more - import the "
              "series again, or export NRRD.").format(gone=gone, total=len(uids), ct=ct.GetName())
        )  # fmt: skip
    return files


class DicomExport(EngineRun):
    """The engine's writing of what the scene holds. `folder` is where it goes, whole or not at all; `said` tells how
    it went."""

    def __init__(self, logic: UNoiseSlicerLogic, ct: Any, parent: Path, database: Any):
        reason = why_not(ct)
        if reason:
            raise Refused(reason)
        scenes.check_fresh(ct.GetScene(), ct)
        self._sources = source_files(ct, database)
        self._maps = scenes.maps_of(ct.GetScene(), ct)
        voxels = ct.GetImageData().GetNumberOfPoints()
        check_room(voxels * (ct.GetImageData().GetScalarSize() + 1 + 4 * len(self._maps)))
        self.folder = scenes.new_folder(parent, ct, "U-Noise DICOM")
        self.said = ""
        super().__init__(logic, ct)

    def _write(self) -> dict[str, Any]:
        mask = scenes.organ_mask(self._scene, self.ct)
        if not scenes.is_as_found(self._scene, self.ct, mask):
            raise Refused(
                _("The segmentation of {ct} was changed by hand, but DICOM results say what the model found - export "
                  "NRRD, or explain the CT again.").format(ct=self.ct.GetName())
            )  # fmt: skip
        exchange.write_as_is(self.ct, self._input)
        results = {"segmentation": str(self._folder / "segmentation.nrrd")}
        exchange.write_as_is(self.ct, Path(results["segmentation"]), mask)
        for method, node in self._maps.items():
            path = self._folder / f"importance-{method}.nrrd"
            exchange.write_as_is(scenes.as_written(node), path, name=node.GetName())
            results[path.stem] = str(path)
        conversion = {
            "ct": str(self._input),
            "results": results,
            "dicom": [str(path) for path in self._sources],
            "report": scenes.report_of(self._scene, self.ct),
            "out": str(self.folder),
        }
        return {"convert": conversion}

    def _advance(self, event: dict[str, Any]) -> None:
        self.state.stage = _("Writing DICOM")
        self.state.share = min(float(event.get("done") or 0) / float(event.get("total") or 1), 1.0)
        self.state.seconds_left = event.get("seconds_left")

    def _heard(self, event: dict[str, Any]) -> None:
        if event["event"] == "converted":
            self.said = _("Exported {files} DICOM objects to {folder}").format(
                files=event.get("files"), folder=event.get("folder"))  # fmt: skip
            if event.get("corrections"):
                mended = "; ".join(event["corrections"])
                self.said += _(" - mended in the source: {mended}").format(mended=mended)

    def _finish(self) -> bool:
        if not self.folder.is_dir():
            raise self._refusal(0)
        return True

    def _refusal(self, code: int) -> Refused:
        kind = self._failure.get("code")
        if kind == "NOT_DICOM":
            text = _("{ct} did not come as DICOM slices, to which DICOM results must refer - export NRRD.")
        elif kind == "NOT_ON_SLICES":
            text = _(
                "{ct} does not lie on the slices of its DICOM files any more (resampled, cropped or moved) - export "
                "NRRD, or load the CT again."
            )
        else:
            return super()._refusal(code)
        return Refused(text.format(ct=self.ct.GetName()))

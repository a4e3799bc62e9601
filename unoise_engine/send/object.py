"""A DICOM object that is to be sent: what an archive must be told of it, or why it cannot go."""

from __future__ import annotations

import re
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import UID

UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
SHAPE = re.compile(r"[0-9]+(\.[0-9]+)+")


class Broken(Exception):
    """What is wrong with a file, in words that follow its name."""


@dataclass(frozen=True)
class SentObject:
    """Its SOP class, its own UID and the way in which it is encoded."""

    kind: UID
    instance: UID
    syntax: UID

    @classmethod
    def read(cls, path: Path) -> SentObject:
        """Reads the header alone. Raises Broken if the file is no whole DICOM object."""
        if why := not_regular(path):
            raise Broken(why)
        try:
            with warnings.catch_warnings():  # they quote values
                warnings.simplefilter("ignore")
                header = dcmread(path, stop_before_pixels=True, specific_tags=list(UIDS))
                found = {name: str(header.get(name) or "") for name in UIDS}
                syntax = str(header.file_meta.get("TransferSyntaxUID") or "")
                named = str(header.file_meta.get("MediaStorageSOPInstanceUID") or "")
        except Exception as error:
            raise Broken(f"is no readable DICOM object ({type(error).__name__})") from None
        for name, value in {**found, "TransferSyntaxUID": syntax}.items():
            if not SHAPE.fullmatch(value) or len(value) > 64:
                raise Broken(f"is no whole DICOM object: {name} is {'not a UID' if value else 'missing or empty'}")
        if not UID(found["SOPClassUID"]).is_valid or not (UID(syntax).is_transfer_syntax or UID(syntax).is_private):
            raise Broken("is no whole DICOM object: its SOPClassUID or TransferSyntaxUID is none")
        if named != found["SOPInstanceUID"]:
            raise Broken("is no whole DICOM object: its preamble names another SOPInstanceUID")
        return cls(UID(found["SOPClassUID"]), UID(found["SOPInstanceUID"]), UID(syntax))


def not_regular(path: Path) -> str:
    """Why a path is not opened: a pipe or a device may never end. Empty for a regular file, or a link to one."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "" if stat.S_ISREG(mode) else "is no regular file, and nothing else is opened"

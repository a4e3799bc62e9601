"""Every fault of the table (docs/faults.md), read here: right, corrected and said so, or refused; never wrong."""

from pathlib import Path
from typing import Any

import pytest

from Testing.benchmarks.fault_table import PROMISED, ROOT, mistake
from Testing.benchmarks.faults import FAULTS
from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.volume.write import write_volume

# The body could be had of these, but not by this reader: slices are missing in the middle, or a header is too short.
REFUSED = {
    "a slice missing", "three slices missing in a row", "a slice's file empty", "pixel data longer than announced",
    "a slice that inflates to 300 MB",
    "NIfTI: more slices than announced", "NIfTI: an axis one too short", "NRRD (gzip): an axis one too short",
    "MetaImage: an axis one too short",
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_no_fault_gives_a_wrong_volume(tmp_path: Path, read: Any, fault: Any) -> None:
    source, delivered = fault.plant(tmp_path), []
    try:
        for case in read.cases(source):
            reading = case.read()
            delivered.append(tmp_path / f"{case.id}.nrrd")
            write_volume(reading.ct, delivered[-1])
    except (CaseRefused, Usage) as error:
        assert fault.hopeless or fault.name in REFUSED, error
        assert str(error).count(" - ") >= 2
        return
    assert not fault.hopeless and len(delivered) == fault.volumes
    assert [mistake(path) for path in delivered] == [""] * fault.volumes


def test_the_page_says_what_is_promised() -> None:
    """It is remade by hand, since it needs other readers and a real CT."""
    assert (ROOT / "docs" / "faults.md").read_text(encoding="utf-8").endswith(PROMISED)

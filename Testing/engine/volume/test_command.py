"""The input faults as a user meets them: one line each, the batch goes on, nothing of a refused case is left."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.engine.conftest import asked
from Testing.engine.volume.planted import good_hu, nifti, nrrd, planes, write
from unoise_engine.batch.run import explain_all

LINE = re.compile(r"CASE [A-Za-z0-9._-]+: REFUSED [A-Z0-9_]+: [^\n]+ - [^\n]+ - [^\n]+")


def test_a_cohort_with_faults(tmp_path: Path, tiny_bundle: Any, capsys: pytest.CaptureFixture[str]) -> None:
    cohort, out = tmp_path / "cohort", tmp_path / "out"
    write(cohort / "good", planes())
    write(cohort / "gap", [one for k, one in enumerate(planes()) if k != 4])
    write(cohort / "leaning", planes(tilt=12))
    mr = planes()
    for one in mr:
        one.dataset.Modality = "MR"
    write(cohort / "mr", mr)
    nifti(cohort / "nan.nii.gz", np.where(good_hu() < -900, np.nan, good_hu()).astype("f4"))
    nifti(cohort / "offset.nii.gz", (good_hu() + 1024).astype("u2"))
    nrrd(cohort / "passwd.nhdr", data_file="/etc/passwd")
    request = asked(
        inputs=(cohort, tmp_path / "nowhere"),
        out=out,
        bundle=str(tiny_bundle),
        methods=("unoise",),
        device="cpu",
        keep_names=True,
    )
    refused = explain_all(request, "off")
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if line.startswith("CASE")]
    assert all(LINE.fullmatch(line) for line in lines), said.err
    codes = dict(re.findall(r"^CASE (\S+): REFUSED (\w+)", "\n".join(lines), re.MULTILINE))
    assert len(codes) == len(lines)
    assert codes == {
        "gap": "MISSING_SLICE",
        "offset": "HU_SUSPECT",
        "passwd": "DETACHED_DATA",
        "nowhere": "NOT_FOUND",
    }
    assert refused == 4
    assert "SKIPPED" in said.err and "modality MR, not CT" in said.err
    assert "Canary" not in said.err + said.out and "Traceback" not in said.err
    assert "CASE good: OK" in said.out
    assert "CASE nan: CORRECTED" in said.out and "no number (NaN or infinite)" in said.out
    assert "CASE leaning: CORRECTED" in said.out and "tilted gantry (12.0 degrees)" in said.out
    done = {p.parent.name for p in out.rglob("importance-unoise*")}
    assert done == {"good", "nan", "leaning"}
    for code in codes:  # a refused case leaves its record and nothing else
        assert [p.name for p in (out / code).glob("[!.]*")] == ["record.json"]


def test_what_the_user_vouches_for_reaches_the_reader(tmp_path: Path, tiny_bundle: Any) -> None:
    gap = write(tmp_path / "gap", [one for k, one in enumerate(planes()) if k != 4])
    suspect = nifti(tmp_path / "suspect.nii.gz", np.clip(good_hu(), 0, 255).astype("u1"))
    request = asked(
        (gap, suspect), tmp_path / "a", bundle=str(tiny_bundle), methods=("unoise",), device="cpu", keep_names=True
    )
    assert explain_all(request, "off") == 2
    vouched = asked(
        (gap, suspect), tmp_path / "b", bundle=str(tiny_bundle), methods=("unoise",), device="cpu",
        fill_gaps=True, trust_hu=True,
    )  # fmt: skip
    assert explain_all(vouched, "off") == 0


def test_no_organ_is_a_result(tmp_path: Path, tiny_bundle: Any, capsys: pytest.CaptureFixture[str]) -> None:
    dull = nifti(tmp_path / "dull.nii.gz", np.minimum(good_hu(), -20))
    request = asked(
        (dull,), tmp_path / "out", bundle=str(tiny_bundle), methods=("unoise",), device="cpu", keep_names=True
    )
    assert explain_all(request, "off") == 0  # cut off at -20 HU, which is said
    assert "CASE dull: CORRECTED - no bright found" in capsys.readouterr().out

"""Only what the model needs is left; the rest says nothing; the same seed gives the same file."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from unoise_engine.errors import Usage
from unoise_engine.evaluate.obscure import obscure
from unoise_engine.models.bundles import load_bundle
from unoise_engine.volume.volume import Volume


def test_what_stays_and_what_goes(ct: Any, tiny_bundle: Any) -> None:
    bundle = load_bundle(tiny_bundle, "cpu")
    found = obscure(ct, bundle, 0.3, 7, lambda amount: None)
    assert found.visible == pytest.approx(0.3, abs=0.01)
    same = found.ct.voxels == ct.voxels
    assert 0.3 <= same.mean() < 0.32  # noise meets the same HU now and then
    assert found.ct.grid == ct.grid
    assert found.kept > 0.5  # the organ is the brightest, and the tiny U-Noise says so
    gone = found.ct.voxels[~same].astype(float)
    assert gone.std() == pytest.approx(5 * 0.25 * 400, rel=0.05)
    less = obscure(ct, bundle, 0.005, 7, lambda amount: None)
    assert less.kept < found.kept


def test_what_is_hidden_does_not_depend_on_the_ct(ct: Any, tiny_bundle: Any) -> None:
    """Two CTs that differ where neither is visible give the same file there: nothing can be computed back."""
    bundle = load_bundle(tiny_bundle, "cpu")
    other = ct.voxels.copy()
    other[:, :3, :3] -= 20  # air in a corner
    first = obscure(ct, bundle, 0.2, 1, lambda amount: None).ct.voxels
    second = obscure(Volume(other, ct.grid), bundle, 0.2, 1, lambda amount: None).ct.voxels
    assert np.array_equal(first, second)


def test_the_command_gives_the_same_bytes(ct_file: Any, tiny_bundle: Any, tmp_path: Path) -> None:
    def run(out: Any, *more: Any) -> Any:
        command = [sys.executable, "-m", "unoise_engine", "obscure", str(ct_file), "--bundle", str(tiny_bundle)]
        done = subprocess.run([*command, "-o", str(tmp_path / out), *more], capture_output=True, text=True)
        return done, tmp_path / out / "case-0001-obscured.nii.gz"

    done, first = run("a", "--visible", "0.3", "--seed", "4")
    assert done.returncode == 0 and "dice kept" in done.stdout, done.stderr
    assert run("b", "--visible", "0.3", "--seed", "4")[1].read_bytes() == first.read_bytes()
    assert run("c", "--visible", "0.3", "--seed", "5")[1].read_bytes() != first.read_bytes()
    told = json.loads((tmp_path / "a" / "case-0001-obscured.json").read_text())
    assert f"{told['dice_kept']:.3f}" in done.stdout and told["visible"] == pytest.approx(0.3, abs=0.01)
    assert sitk.ReadImage(str(first)).GetSize() == sitk.ReadImage(str(ct_file)).GetSize()
    wrong, _ = run("d", "--visible", "30")
    assert wrong.returncode == 2 and "0.3" in wrong.stderr and len(wrong.stderr.splitlines()) == 1


def test_shares_that_make_no_sense(ct: Any, tiny_bundle: Any) -> None:
    for share in (0, 1, -1):
        with pytest.raises(Usage, match="between 0 and 1"):
            obscure(ct, load_bundle(tiny_bundle, "cpu"), share, 0, lambda amount: None)

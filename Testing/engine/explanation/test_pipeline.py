"""The straight line on the test net: what it yields, tells and warns of."""

from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.engine.conftest import ellipsoid_ct
from unoise_engine.explanation.pipeline import explain_volume
from unoise_engine.explanation.settings import Settings
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.clean_up import CleanUp
from unoise_engine.models.manifest import read_manifest, write_bundle
from unoise_engine.progress import Quiet


class Told(Quiet):
    def __init__(self) -> None:
        self.stages: list[Any] = []

    @contextmanager
    def stage(self, case: Any, name: Any, total: Any) -> Any:
        done: Any = []
        yield done.append
        self.stages.append((case, name, total, pytest.approx(sum(done))))


def test_what_is_yielded_and_told(ct: Any, tiny_bundle: Any) -> None:
    told, seconds, warnings = Told(), dict[str, float](), list[str]()
    settings = Settings(("gradcam", "unoise"), slices=(2, 9))
    found = dict(explain_volume(ct, load_bundle(tiny_bundle, "cpu"), settings, told, seconds, "me", warnings))
    assert [*found] == ["segmentation", "importance-gradcam", "importance-unoise"]
    assert told.stages == [("me", name, 7, 7) for name in ("segmentation", "gradcam", "unoise")]
    assert set(seconds) == {"prepare", "segmentation", "gradcam", "unoise"} and min(seconds.values()) > 0
    mask = found["segmentation"].voxels
    assert set(np.unique(mask)) == {0, 3} and not mask[:2].any() and not mask[9].any()
    organ = mask > 0
    assert found["importance-gradcam"].voxels[organ].min() > 0 and found["importance-unoise"].voxels[organ].min() > 0
    assert not any("jump" in one or "pieces" in one or "same number" in one for one in warnings)
    assert any("field of view" in one for one in warnings)  # 72 mm wide


def test_what_speaks_against_a_result_is_said(tiny_bundle: Any, tmp_path: Path) -> None:
    """Two organs of one size, far apart, of which the model keeps one; and slices missing between the others."""
    from dataclasses import replace

    manifest = replace(read_manifest(tiny_bundle), clean_up=CleanUp(one_piece=True))
    files = {name: tiny_bundle / name for name in ("utility.onnx", "unoise.onnx")}
    write_bundle(tmp_path / "keeps one", manifest, files)
    ct = ellipsoid_ct(shape=(9, 64, 64), spacing_mm=(2.0, 2.0, 2.0))
    hu = np.full(ct.voxels.shape, -60, np.int16)
    hu[:, 6:20, 6:20] = hu[:, 40:54, 40:54] = 150
    hu[2::3] += 60
    warnings: Any = []
    [*explain_volume(ct.with_voxels(hu), load_bundle(tmp_path / "keeps one", "cpu"), Settings(("unoise",)),
                     warnings=warnings)]  # fmt: skip
    assert any(one.startswith("What looked like bright lay in pieces far apart") for one in warnings)
    assert any("slices differ from the one before more than slices 2 mm apart do" in one for one in warnings)

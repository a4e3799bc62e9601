"""The straight line on the test net: what it yields, tells and warns of."""

from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.engine.conftest import ellipsoid_ct
from Testing.engine.models.foreign_net import write_caused
from unoise_engine.errors import Usage
from unoise_engine.explanation.method import Method
from unoise_engine.explanation.occlusion import Occlusion
from unoise_engine.explanation.pipeline import explain_volume
from unoise_engine.explanation.refine import RefinedUNoise
from unoise_engine.explanation.settings import Settings
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.clean_up import CleanUp
from unoise_engine.models.manifest import read_manifest, write_bundle
from unoise_engine.models.preparation import Preparation, Step, Window
from unoise_engine.progress import Quiet

STEPS = (Step("clip", (-200, 1000)), Step("normalise", (-300, 100)))  # the organ's 150 HU are a "spot"


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


def test_a_slices_prediction_is_its_own(ct: Any, tiny_bundle: Any) -> None:
    settings = Settings(("occlusion",), parameters={"occlusion": Occlusion(stride=16)})
    found = dict(explain_volume(ct, load_bundle(tiny_bundle, "cpu"), settings))
    shows, lost = (volume.voxels.any(axis=(1, 2)) for volume in found.values())
    assert np.array_equal(shows, lost) and shows.any() and not shows.all()


def test_a_model_of_planes_has_no_window_to_look_at(ct: Any, tiny_bundle: Any) -> None:
    with pytest.raises(Usage, match="--focus - is for models that look at a block window by window"):
        [*explain_volume(ct, load_bundle(tiny_bundle, "cpu"), Settings(("unoise",), focus=True))]


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


@pytest.mark.parametrize("rank", [2, 3])
def test_methods_of_many_passes_say_beforehand_how_long_they_may_take(rank: int, tmp_path: Path) -> None:
    """In 3-D occlusion ends by itself; what looks at one window counts that window alone."""
    window = Window((8, 16, 16)[3 - rank :], 0.5)
    model = load_bundle(
        write_caused(tmp_path, Preparation("SAR", rank, window=window, steps=STEPS)), "cpu", label="spot"
    )
    told: dict[str, Any] = {}

    class Listens(Quiet):
        def event(self, kind: str, **facts: Any) -> None:
            if kind == "estimate":
                told[facts["stage"]] = facts

    def asked(method: Method, focus: bool = False) -> float:
        told.clear()
        settings = Settings((method.name, "gradient"), focus=focus, parameters={method.name: method})
        seconds: dict[str, float] = {}
        [*explain_volume(ellipsoid_ct((9, 32, 32), (2, 2, 2)), model, settings, Listens(), seconds)]
        assert [*told] == [method.name]
        return float(told[method.name]["seconds"]) / seconds["segmentation"]

    once = RefinedUNoise(steps=1, draws=1)
    refined = asked(once)
    items = told["unoise-refined"]["slices"] / 9 if rank == 2 else 1  # of 9 planes
    assert told["unoise-refined"]["slices"] > 1 and refined == pytest.approx(items * once.places(), rel=1e-6)
    if rank == 3:
        share = 8 * 16 * 16 / (9 * 32 * 32)
        assert asked(once, focus=True) == pytest.approx(once.places() * share, rel=1e-6)
        assert asked(Occlusion(3, minutes=1e-9)) < 1e-3

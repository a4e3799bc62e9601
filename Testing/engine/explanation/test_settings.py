"""What is asked for, checked where it is said."""

from types import SimpleNamespace
from typing import Any

import pytest

from unoise_engine.errors import Usage
from unoise_engine.explanation.methods import METHODS
from unoise_engine.explanation.occlusion import Occlusion
from unoise_engine.explanation.settings import Settings


def model(*answers: str) -> Any:
    return SimpleNamespace(answers=frozenset(answers))


def test_slices() -> None:
    assert Settings(slices=(0, 1)).slices == (0, 1) and Settings().slices is None
    for wrong in ((5, 5), (6, 5), (-1, 3)):
        with pytest.raises(Usage, match=rf"slices \[{wrong[0]}, {wrong[1]}\] - is no range"):
            Settings(slices=wrong)


def test_names() -> None:
    for wrong in ({"methods": ("lime",)}, {"parameters": {"lime": Occlusion()}}):
        with pytest.raises(Usage, match="--methods lime - unknown method - choose from unoise"):
            Settings(**wrong)


def test_where_nobody_chooses_the_usual_ones_that_the_model_answers() -> None:
    assert Settings().for_model(model("noise", "gradcam", "gradient")).methods == ("unoise", "gradcam")
    assert Settings().for_model(model("gradcam")).methods == ("gradcam",)
    assert Settings(("gradient",)).for_model(model("gradient")).methods == ("gradient",)
    with pytest.raises(Usage, match="--methods unoise"):
        Settings(("occlusion", "unoise")).for_model(model())


def test_parameters_and_what_a_report_tells_of_them() -> None:
    mine = Occlusion(patch=9, stride=2)
    settings = Settings(("gradcam", "occlusion"), parameters={"occlusion": mine})
    assert settings.chosen == {"gradcam": METHODS["gradcam"], "occlusion": mine}
    assert [*settings.chosen] == ["gradcam", "occlusion"]
    told = {"patch": 9, "stride": 2, "fill": 0.0, "minutes": 0.0, "kind": "exact, every 2 pixels"}
    assert settings.told == {"occlusion": told}
    assert "kind" not in Settings(("gradient",)).told["gradient"]

"""U-Noise from CTs without labels: the target is what the utility itself finds."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from Testing.engine.conftest import ellipsoid_ct
from Testing.engine.training.world import unoise_recipe
from unoise_engine.errors import Usage
from unoise_engine.training import learners
from unoise_engine.training.export import export_bundle
from unoise_engine.training.fit import train_unoise
from unoise_engine.training.recipes import Data
from unoise_engine.training.runs import UNoiseRun, UtilityRun
from unoise_engine.training.split import Split
from unoise_engine.training.unlabelled import CT, find_cts, split_cts
from unoise_engine.training.unoise import unoise_loss

QUIET: dict[str, Any] = {"device": "cpu", "progress": "off"}


def recipe(**noise: Any) -> Any:
    plain = unoise_recipe(max_steps=8, round_steps=4)
    return replace(plain, noise=replace(plain.noise, targets="predictions", **noise))


@pytest.fixture
def unlabelled(world: Any, tmp_path: Path) -> Any:
    folder = tmp_path / "cts"
    folder.mkdir()
    for ct in world.glob("*-ct.nii.gz"):
        shutil.copy(ct, folder / ct.name.replace("-ct", "").replace("case", "scan"))
    return folder


def test_cts_alone_are_enough(
    unlabelled: Any, utility_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def loss(utility: Any, noise: Any, x: Any, y: Any, cfg: Any) -> Any:
        seen.append(torch.equal(y > 0, utility(x) > 0))
        return unoise_loss(utility, noise, x, y, cfg)

    monkeypatch.setattr(learners, "unoise_loss", loss)
    run = train_unoise(unlabelled, utility_run, tmp_path / "run", recipe(), **QUIET)
    assert seen and all(seen)
    noise = UNoiseRun.open(run)
    noise.check_explains(UtilityRun.open(utility_run))
    assert len(noise.split.cases) == 5 and noise.split.test
    train_unoise(unlabelled, utility_run, run, recipe(), resume=True, **QUIET)


def test_ours_learns_and_ships(unlabelled: Any, utility_run: Any, tmp_path: Path) -> None:
    """Budgets and a coarse map, exported: onnxruntime must agree with torch, or nothing is written."""
    ours = recipe(budget_weight=1.0, cell=4)
    run = train_unoise(unlabelled, utility_run, tmp_path / "run", ours, **QUIET)
    card = tmp_path / "card.toml"
    card.write_text('title = "t"\ntraining_data = "balls"\nsynthetic = true\n')
    bundle = export_bundle(utility_run, run, tmp_path / "bundle", card=card)
    assert '"cell": 4' in (bundle / "bundle.json").read_text()


def test_known_cases_keep_their_part() -> None:
    cts = [CT(name, ellipsoid_ct) for name in ("a", "b", "c", "d", "x", "y", "z")]
    known = Split(("a", "b"), ("c",), ("d",))
    drawn = split_cts(cts, known, Data())
    assert set(known.train) <= set(drawn.train) and "d" in drawn.test and "c" in drawn.val
    assert drawn.cases == {"a", "b", "c", "d", "x", "y", "z"}
    with pytest.raises(Usage, match="1 patient"):
        split_cts(cts[-1:], known, Data())


def test_a_folder_without_cts(tmp_path: Path) -> None:
    with pytest.raises(Usage):
        find_cts([tmp_path])
    with pytest.raises(Usage, match="no such folder"):
        find_cts([tmp_path / "none"])

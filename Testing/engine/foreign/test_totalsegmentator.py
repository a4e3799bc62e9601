"""TotalSegmentator's folders: found where it keeps them, and what it does around nnU-Net."""

from pathlib import Path

import pytest

from Testing.engine.foreign.results_folder import write_folder
from unoise_engine.errors import EngineError, Environment, Usage
from unoise_engine.foreign.totalsegmentator import (
    CROPPED,
    EVERY_FOLD,
    NEED_KEY,
    NOT_RESAMPLED,
    OPEN,
    TASKS,
    is_weights_folder,
    read_totalsegmentator,
    task_folders,
    weights_home,
)
from unoise_engine.models.preparation import Resampling, Step


def weights(home: Path, number: int, folds: tuple[str, ...] = ("0",)) -> Path:
    made = write_folder(home / f"made{number}", folds=folds, trainer="nnUNetTrainerNoMirroring")
    folder = home / f"Dataset{number:03d}_TotalSegmentator_some_1559subj"
    folder.mkdir(parents=True)
    made.rename(folder / made.name)
    return folder


def test_weights_are_where_totalsegmentator_keeps_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TOTALSEG_WEIGHTS_PATH", "TOTALSEG_HOME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert weights_home() == tmp_path / ".totalsegmentator" / "nnunet" / "results"
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(tmp_path / "h"))
    assert weights_home() == tmp_path / "h" / "nnunet" / "results"
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(tmp_path / "w"))
    assert weights_home() == tmp_path / "w"
    with pytest.raises(
        Environment, match=r"no weights of Dataset297, for total_fast - .*download_weights -t total_fast"
    ):
        task_folders("total_fast")
    one = weights(tmp_path / "w", 297)
    assert task_folders("total_fast") == task_folders("297") == [one]
    assert is_weights_folder(one) and not is_weights_folder(tmp_path / "elsewhere")
    with pytest.raises(Usage, match="--task pancreas - is none of TotalSegmentator's - choose from total, "):
        task_folders("pancreas")


def test_a_set_is_all_its_nets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(tmp_path))
    made = [weights(tmp_path, number) for number in (291, 292, 293, 294)]
    with pytest.raises(Environment, match="Dataset295"):
        task_folders("total")
    made.append(weights(tmp_path, 295))
    assert task_folders("total") == made
    names = {read_totalsegmentator(folder).name for folder in made}
    assert names == {f"totalsegmentator-total-{number}" for number in range(291, 296)}


def test_what_it_does_before_nnunet_comes_first(tmp_path: Path) -> None:
    source = read_totalsegmentator(weights(tmp_path, 297))
    found = source.preparation
    assert found.axes == "SAR" and found.spacing_mm == (3.0, 1.5, 1.5)
    assert [step.do for step in found.steps] == ["resample", "truncate", "crop-nonzero", "clip", "normalise"]
    assert found.resampling == Resampling("ends", 1, 0, "never", 0, 0, keep_range=False)
    assert found.window.step == 0.8 and found.window.size == (8, 16, 12)
    assert "any usage" in source.licence and "Wasserthal" in source.citation and "Isensee" in source.citation
    assert source.kind == "TotalSegmentator" and "terms" not in source.facts


def test_nets_that_are_not_resampled_are_as_nnunet_has_them(tmp_path: Path) -> None:
    found = read_totalsegmentator(weights(tmp_path, 301))
    assert [step.do for step in found.preparation.steps] == ["crop-nonzero", "clip", "normalise", "resample"]
    assert found.preparation.axes == "SAR" and found.preparation.window.step == 0.5
    assert any("crops images to organs" in note for note in found.notes)


def test_what_needs_a_key_is_not_called_free(tmp_path: Path) -> None:
    found = read_totalsegmentator(weights(tmp_path, 481))
    assert found.licence == "" and "licence key" in found.facts["terms"]
    assert "non-commercial" in read_totalsegmentator(weights(tmp_path, 615)).facts["terms"]


def test_folds_as_it_chooses_them(tmp_path: Path) -> None:
    several = ("0", "1")
    assert "fold_0+fold_1" in read_totalsegmentator(weights(tmp_path, 315, several)).facts["from"]
    folder = weights(tmp_path, 299, several)
    assert "/fold_0/" in read_totalsegmentator(folder).facts["from"]
    assert "/fold_1/" in read_totalsegmentator(folder, fold="1").facts["from"]


def test_a_folder_of_somebody_elses_is_not_taken_for_one(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no net of TotalSegmentator's"):
        read_totalsegmentator(write_folder(tmp_path))


def test_the_tables_fit_together() -> None:
    numbers = [number for some in TASKS.values() for number in some]
    assert len(numbers) == len(set(numbers)) and set(OPEN) <= set(TASKS)
    assert NEED_KEY | NOT_RESAMPLED | EVERY_FOLD | CROPPED <= set(numbers)
    assert not NEED_KEY & {number for task in OPEN for number in TASKS[task]}
    assert set(TASKS["total_mr"]) and Step("truncate")

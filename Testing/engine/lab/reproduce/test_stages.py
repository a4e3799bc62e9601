"""What is finished is not done again; what its ground changed under is; what was cut off goes on."""

import json
from pathlib import Path
from typing import Any

import pytest

from unoise_engine.errors import Integrity, Interrupted
from unoise_engine.files import remove, write
from unoise_engine.lab.reproduce.stages import Stages
from unoise_engine.lab.reproduce.study import again


def maker(calls: Any) -> Any:
    def make(folder: Any, begun: Any) -> Any:
        calls.append(begun)
        folder.mkdir(exist_ok=True)
        write(folder / "half", "")
        return {"n": len(calls)}

    return make


def test_once_and_again_when_the_ground_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[bool] = []
    first, facts = Stages(tmp_path).run("a", ["x", 1], maker(calls))
    again, same = Stages(tmp_path).run("a", ["x", 1], maker(calls))
    assert calls == [False] and facts == same == {"n": 1} and first == again
    assert "done before" in capsys.readouterr().err
    write(tmp_path / "a" / "old", "")
    other, _ = Stages(tmp_path).run("a", ["x", 2], maker(calls))
    assert calls == [False, False] and other != first and not (tmp_path / "a" / "old").exists()
    assert json.loads((tmp_path / "records" / "a.json").read_text())["facts"] == {"n": 2}


def test_what_was_cut_off_goes_on(tmp_path: Path) -> None:
    def cut(folder: Any, begun: Any) -> Any:
        folder.mkdir()
        write(folder / "half", "")
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="stage a was interrupted - give the same command again"):
        Stages(tmp_path).run("a", 1, cut)
    calls: list[bool] = []
    Stages(tmp_path).run("a", 1, maker(calls))
    assert calls == [True] and (tmp_path / "a" / "half").exists()


def test_a_folder_that_is_gone_is_made_again(tmp_path: Path) -> None:
    calls: list[bool] = []
    Stages(tmp_path).run("a", 1, maker(calls))
    remove(tmp_path / "a")
    Stages(tmp_path).run("a", 1, maker(calls))
    assert len(calls) == 2


def test_no_advice_names_an_option_that_only_train_has(tmp_path: Path) -> None:
    """A training that stops says how `train` goes on; `reproduce` has no --resume."""

    def stopped(resume: Any) -> None:
        raise Interrupted(tmp_path, "training was interrupted at step 6 of 8", "go on from there with --resume")

    with pytest.raises(Interrupted, match=r"step 6 of 8 - give the same command again: it goes on from there$"):
        again(tmp_path, True, stopped)

    def damaged(resume: Any) -> None:
        raise Integrity(tmp_path, "is damaged", "bring it back as it was")

    with pytest.raises(Integrity, match="bring it back as it was"):
        again(tmp_path, True, damaged)


@pytest.mark.parametrize(
    ("begun", "recipe", "resumes"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_a_training_goes_on_only_where_it_was_begun(tmp_path: Path, begun: Any, recipe: Any, resumes: Any) -> None:
    told: list[bool] = []
    if recipe:
        (tmp_path / "recipe.toml").write_text("")
    again(tmp_path, begun, told.append)
    assert told == [resumes]

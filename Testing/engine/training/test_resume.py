"""A run that was stopped anywhere goes on as if it had not been, or says in one sentence what to do."""

import hashlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from Testing.engine.training.test_fit import QUIET, rows, same
from Testing.engine.training.test_together import plain
from Testing.engine.training.world import unoise_recipe, utility_recipe
from unoise_engine.errors import EngineError, Integrity, Usage
from unoise_engine.files import INVENTORY
from unoise_engine.training import begun, checkpoints, fit, runs
from unoise_engine.training.fit import train_unoise, train_utility
from unoise_engine.training.split import Split
from unoise_engine.training.tables import to_toml


def near_recipe() -> Any:
    plain = unoise_recipe()
    return replace(plain, noise=replace(plain.noise, near=True, cell=2, budget_weight=1.0))


class Killed(BaseException):
    """What a process leaves that is killed here: nothing after this line is done."""


def killed(*args: Any, **more: Any) -> None:
    raise Killed


def tree(folder: Any) -> Any:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def whole(world: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return train_utility(world, tmp_path_factory.mktemp("whole") / "run", utility_recipe(), **QUIET)


@pytest.fixture
def run(whole: Any, tmp_path: Path) -> Any:
    """A finished run of eight steps, to be damaged."""
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def half(run: Any) -> Any:
    """The same, as it was after four steps."""
    (run / "finished.json").unlink()
    return run


def test_a_finished_run_stays_as_it_is(
    world: Any, utility_run: Any, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, cut, plain_settle = tmp_path / "near", tmp_path / "cut", fit.settle

    def settle(*args: Any) -> None:
        shutil.copytree(near, cut)  # what is there if it is killed before it settles
        plain_settle(*args)

    with monkeypatch.context() as patch:
        patch.setattr(fit, "settle", settle)
        train_unoise(world, utility_run, near, near_recipe(), **QUIET)
    before = {one: tree(one) for one in (near, run)}
    assert "finished.json" in before[near] and (cut / "best.ckpt").read_bytes() != (near / "best.ckpt").read_bytes()
    train_unoise(world, utility_run, near, near_recipe(), resume=True, **QUIET)
    train_utility(world, run, utility_recipe(), resume=True, **QUIET)
    assert before == {one: tree(one) for one in (near, run)}
    (near / "finished.json").unlink()  # killed between settling and the last word
    for one in (near, cut):
        train_unoise(world, utility_run, one, near_recipe(), resume=True, **QUIET)
        assert tree(one)["best.ckpt"] == before[near]["best.ckpt"]


def test_an_early_stop_is_an_end(world: Any, tmp_path: Path) -> None:
    recipe = utility_recipe(max_steps=40, round_steps=2, lr=1e-12, patience=2)
    run = train_utility(world, tmp_path / "run", recipe, **QUIET)
    before = tree(run)
    train_utility(world, run, recipe, resume=True, **QUIET)
    assert tree(run) == before


@pytest.mark.parametrize(
    ("room", "name", "has_begun"),
    [(Split, "write", False), (begun, "write_recipe", False), (fit, "run_loop", True)],
)
def test_killed_before_the_first_checkpoint(
    world: Any, whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: Any, name: Any, has_begun: Any
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(room, name, killed)
        with pytest.raises(Killed):
            train_utility(world, out, utility_recipe(), **QUIET)
    if has_begun:
        half = out / ".last.ckpt-1-partial"
        half.mkdir()
        (half / INVENTORY).touch()
        (half / ".unoise-00000000-last.ckpt").write_bytes(b"half a checkpoint")
        with pytest.raises(Usage, match="add --resume"):
            train_utility(world, out, utility_recipe(), **QUIET)
    else:
        with pytest.raises(Usage, match="start it without --resume"):
            train_utility(world, out, utility_recipe(), resume=True, **QUIET)
    train_utility(world, out, utility_recipe(), resume=has_begun, **QUIET)
    assert same(whole, out)
    assert not list(out.glob(".*-partial"))


def test_an_unoise_run_killed_before_its_first_checkpoint(
    world: Any, utility_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, recipe = tmp_path / "run", unoise_recipe()
    with monkeypatch.context() as patch:
        patch.setattr(begun, "write_recipe", killed)
        with pytest.raises(Killed):
            train_unoise(world, utility_run, out, recipe, **QUIET)
    assert {p.name for p in out.glob("[!.]*")} == {"split.json", "utility.json", "cases.json"}
    train_unoise(world, utility_run, out, recipe, **QUIET)


@pytest.mark.parametrize(("step", "turn"), [("copy", 1), ("add_row", 2)])
def test_killed_between_the_files_of_a_round(
    world: Any, whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: Any, turn: Any
) -> None:
    out, told, plain_step = tmp_path / "run", [], getattr(checkpoints, step)

    def some_time(*args: Any, **more: Any) -> Any:
        told.append(args)
        return plain_step(*args, **more) if len(told) < turn else killed()

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, step, some_time)
        with pytest.raises(Killed):
            train_utility(world, out, utility_recipe(), **QUIET)
    train_utility(world, out, utility_recipe(), resume=True, **QUIET)
    assert same(whole, out) and same(whole, out, "best.ckpt")
    assert [{**r, "seconds": ""} for r in rows(out)] == [{**r, "seconds": ""} for r in rows(whole)]


def test_a_row_that_was_written_before_its_checkpoint_is_written_once(half: Any) -> None:
    table = half / "metrics.csv"
    before = table.read_bytes()
    checkpoints.forget_rows(table, 8)
    assert table.read_bytes() == before
    table.write_bytes(before + b"12,0.5,0.")  # killed in the middle of a line
    checkpoints.forget_rows(table, 4)
    assert [row["step"] for row in rows(half)] == ["4"]


BURST = Path(tempfile.gettempdir()) / "made-by-a-pickle"


class Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, (str(BURST),)


def empty(path: Any) -> None:
    path.write_bytes(b"")


def truncated(path: Any) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def flipped(path: Any) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def code(path: Any) -> None:
    path.write_bytes(pickle.dumps(Bomb()))


DAMAGES = (empty, truncated, flipped, code)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_told_from_a_bad_rate(world: Any, half: Any, damage: Any) -> None:
    damage(half / "last.ckpt")
    with pytest.raises(Integrity, match=r"last\.ckpt - is damaged.*copy best\.ckpt over it") as told:
        train_utility(world, half, utility_recipe(), resume=True, **QUIET)
    assert told.value.exit_code == 4 and "\n" not in str(told.value)
    assert not BURST.exists()
    shutil.copy(half / "best.ckpt", half / "last.ckpt")  # the advice holds
    train_utility(world, half, utility_recipe(), resume=True, **QUIET)
    assert [row["step"] for row in rows(half)] == ["4", "8"]


def test_a_damaged_checkpoint_without_an_inventory(world: Any, half: Any) -> None:
    """Copied without the hidden file: what cannot be read is damaged all the same."""
    (half / ".unoise.sha256").unlink()
    for damage in (empty, truncated, code):
        damage(half / "best.ckpt")
        with pytest.raises(Integrity, match="is damaged"):
            runs.UtilityRun.open(half).net()


@pytest.mark.parametrize("damage", DAMAGES)
def test_no_noise_model_learns_from_a_damaged_utility(world: Any, run: Any, tmp_path: Path, damage: Any) -> None:
    damage(run / "best.ckpt")
    with pytest.raises(Integrity, match=r"best\.ckpt - is damaged"):
        train_unoise(world, run, tmp_path / "noise", unoise_recipe(), **QUIET)
    assert not (tmp_path / "noise").exists()


def test_a_net_of_another_shape_is_no_damage(run: Any) -> None:
    text = (run / "recipe.toml").read_text("utf-8")
    (run / "recipe.toml").write_text(text.replace("first_channels = 4", "first_channels = 8"), "utf-8")
    with pytest.raises(Integrity, match="does not fit the net"):
        runs.UtilityRun.open(run).net()


def test_one_process_a_folder(world: Any, half: Any, tmp_path: Path) -> None:
    with begun.claimed(half), pytest.raises(Usage, match="by another process"):
        train_utility(world, half, utility_recipe(), resume=True, **QUIET)
    with begun.claimed(tmp_path / "new"), pytest.raises(Usage, match="by another process"):
        train_utility(world, tmp_path / "new", utility_recipe(), **QUIET)
    assert not (tmp_path / "new").exists()
    train_utility(world, half, utility_recipe(), resume=True, **QUIET)


def test_weights_alone_are_never_overwritten_by_a_fresh_start(world: Any, half: Any) -> None:
    """As `bundle unpack` leaves them."""
    (half / "last.ckpt").unlink()
    before = tree(half)
    with pytest.raises(Usage, match="--init"):
        train_utility(world, half, utility_recipe(), resume=True, **QUIET)
    assert tree(half) == before


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
def test_few_steps_are_enough_for_the_schedule(world: Any, tmp_path: Path, steps: Any) -> None:
    run = train_utility(world, tmp_path / "run", utility_recipe(max_steps=steps, round_steps=steps), **QUIET)
    assert [row["step"] for row in rows(run)] == [str(steps)]


@pytest.mark.slow
def test_a_killed_worker_is_one_sentence(world: Any, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    told = plain(4)
    recipe.write_text(to_toml(replace(told, fit=replace(told.fit, max_steps=1_000_000))))
    words = ["train", "utility", str(world), "-o", str(tmp_path / "run"), "--recipe", str(recipe), "--device", "cpu"]
    main = subprocess.Popen(
        [sys.executable, "-m", "unoise_engine", *words, "--devices", "2", "--progress", "off"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert main.stderr is not None
    try:
        rows, began = tmp_path / "run" / "metrics.csv", time.monotonic()
        while not (rows.is_file() and len(rows.read_text().splitlines()) > 2):  # two rounds: the first is on disk
            assert main.poll() is None, main.stderr.read()
            assert time.monotonic() - began < 300, "no two rounds in five minutes"
            time.sleep(0.2)
        (worker,) = subprocess.run(["pgrep", "-P", str(main.pid)], capture_output=True, text=True).stdout.split()
        os.kill(int(worker), signal.SIGKILL)
        said = main.communicate(timeout=60)[1].splitlines()
    finally:
        main.kill()
    assert main.returncode == EngineError.exit_code
    assert len(said) == 1 and "was killed or died" in said[0] and "--resume" in said[0]
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] >= 6

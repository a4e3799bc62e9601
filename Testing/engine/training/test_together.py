"""Two processes that train together do what one does alone with their batches put together."""

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from Testing.engine.training.world import utility_recipe
from unoise_engine.cli.app import app
from unoise_engine.errors import Usage
from unoise_engine.training import draw as drawing
from unoise_engine.training.cases import load_cases
from unoise_engine.training.draw import Stream
from unoise_engine.training.recipes import Augment, Data, Draw
from unoise_engine.training.sources import open_sources
from unoise_engine.training.tables import to_toml


def plain(batch: Any) -> Any:
    """No chance in what a slice becomes: no change of it, a crop larger than it, and a loss that is a plain mean."""
    still = Augment(
        rotate_deg=0.0, scale=0.0, shift_px=0.0, elastic_px=0.0, gain=0.0, offset=0.0, gamma=0.0, noise=0.0, blur=0.0
    )
    recipe = utility_recipe(max_steps=12, round_steps=6, loss="bce", schedule="constant", lr=3e-3)
    return replace(recipe, draw=Draw(crop=48, batch=batch), augment=still)


def test_each_process_draws_its_share(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = plain(8)
    sources = open_sources([world], Data())
    cases = load_cases(sources, sources[0].cases, recipe.ct, lambda *told: None)

    def names(batch: Any, rank: Any, processes: Any) -> Any:
        monkeypatch.setattr(drawing, "process", lambda: (rank, processes))
        stream = iter(Stream(cases, replace(recipe.draw, batch=batch), 0, lambda: 0))
        return [next(stream)["names"] for _ in range(5)]

    alone, first, second = names(8, 0, 1), names(4, 0, 2), names(4, 1, 2)
    assert [a + b for a, b in zip(first, second)] == alone
    assert first != second


def train(world: Any, tmp_path: Path, name: Any, batch: Any, *more: Any) -> Any:
    recipe = tmp_path / f"{name}.toml"
    recipe.write_text(to_toml(plain(batch)))
    command = [sys.executable, "-m", "unoise_engine", "train", "utility", str(world), "-o", str(tmp_path / name)]
    done = subprocess.run([*command, "--recipe", str(recipe), "--device", "cpu", "--progress", "off", *more],
                          capture_output=True, text=True, timeout=600)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(tmp_path / name)]  # said once
    with (tmp_path / name / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_two_processes_reach_the_loss_of_one(world: Any, tmp_path: Path) -> None:
    """Batch norm takes each process's own half of the batch, so the losses agree nearly, not to the bit."""
    alone = train(world, tmp_path, "alone", 8)
    both = train(world, tmp_path, "both", 4, "--devices", "2")
    assert [row["step"] for row in both] == [row["step"] for row in alone] == ["6", "12"]
    for one, two in zip(alone, both):
        assert float(two["train_loss"]) == pytest.approx(float(one["train_loss"]), rel=0.05)
    assert float(alone[1]["train_loss"]) < 0.95 * float(alone[0]["train_loss"])  # it did learn


def test_no_devices_at_all(world: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "unoise_engine", "train", "utility", str(world), "-o", str(tmp_path / "run")]
    done = subprocess.run([*command, "--devices", "0"], capture_output=True, text=True)
    assert done.returncode == 2 and "--devices 0" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("kind", ["utility", "unoise"])
def test_several_machines_are_started_from_outside(kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, it would wait for the others until it gives up."""
    for name in ("MASTER_ADDR", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    told = ["train", kind, str(tmp_path), "-o", str(tmp_path / "run"), "--num-nodes", "2"]
    done = CliRunner().invoke(app, [*told, *(["--utility", str(tmp_path)] if kind == "unoise" else [])])
    assert isinstance(done.exception, Usage) and str(done.exception).startswith("--num-nodes 2 - was not started")
    assert not (tmp_path / "run").exists()

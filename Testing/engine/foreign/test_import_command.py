"""`unoise_engine import` as people type it: what it takes SOURCE for, and one line for every failure."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from Testing.engine.foreign.results_folder import write_folder
from unoise_engine.models.manifest import read_manifest

ROOT = Path(__file__).parents[3]


def run(*arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "unoise_engine", *map(str, arguments)],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip


@pytest.mark.slow
def test_a_results_folder_becomes_a_bundle(tmp_path: Path) -> None:
    folder, out = write_folder(tmp_path / "in"), tmp_path / "out"
    done = run("import", folder, "-o", out, "--licence", "CC0", "--name", "mine", "--title", "Of mine")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and done.stdout.startswith("mine: 2 labels (liver, pancreas)")
    assert "100.00% of labels agree" in done.stdout and "without mirroring" in done.stdout
    assert read_manifest(out).title == "Of mine"


@pytest.mark.slow
def test_a_task_with_several_nets_becomes_a_set_or_nothing(tmp_path: Path) -> None:
    home = tmp_path / "weights"
    for number in (850, 851):
        made = write_folder(tmp_path / f"made{number}")
        folder = home / f"Dataset{number}_TotalSegMRI_part"
        folder.mkdir(parents=True)
        made.rename(folder / made.name)
    environment = {"TOTALSEG_WEIGHTS_PATH": str(home)}
    done = run("import", "total_mr", "-o", tmp_path / "out", **environment)
    assert done.returncode == 0, done.stderr
    names = [f"totalsegmentator-total_mr-{number}" for number in (850, 851)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert [read_manifest(tmp_path / "out" / name).name for name in names] == names
    next(home.glob("Dataset851_*/*/fold_0/checkpoint_final.pth")).write_bytes(b"")
    done = run("import", "total_mr", "-o", tmp_path / "again", **environment)
    assert done.returncode == 4 and not list(tmp_path.glob("*again*"))


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_killed_and_done_again(tmp_path: Path) -> None:
    """What a killed import leaves goes with the next one, whatever that is called."""
    folder = write_folder(tmp_path / "in")
    words = [sys.executable, "-m", "unoise_engine", "import", str(folder), "--licence", "CC0", "-o"]
    killed = subprocess.Popen([*words, str(tmp_path / "out")], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    while not [*tmp_path.glob(".out-*-partial/.unoise.sha256")]:
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    assert [*tmp_path.glob(".out-*-partial")] and not (tmp_path / "out").exists()
    done = run("import", folder, "-o", tmp_path / "another", "--licence", "CC0")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["another", "in"]


def fails(code: int, words: str, *arguments: object) -> None:
    done = run("import", *arguments)
    assert done.returncode == code, done.stderr
    assert words in done.stderr and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_every_failure_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder = write_folder(tmp_path / "in")
    fails(2, "SOURCE - is missing", "-o", out)
    fails(2, "--out - is missing", folder)
    fails(2, "neither a file, nor a folder, nor a task", tmp_path / "none", "-o", out)
    fails(2, "has no fold 4 - there are: 0", folder, "-o", out, "--fold", "4")
    fails(2, "--licence - is missing", folder, "-o", out)
    fails(2, "--recipe - is missing", torchscript(tmp_path / "net.ts"), "-o", out)
    (tmp_path / "net.txt").write_text("a net")
    fails(2, "is no kind of model", tmp_path / "net.txt", "-o", out)
    fails(3, "exists already", folder, "-o", tmp_path / "in")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "net.ts", "net.txt"]


def torchscript(path: Path) -> Path:
    torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.ones(1)), path)
    return path


def test_without_the_extra_it_says_how_to_get_it(tmp_path: Path) -> None:
    """As where torch was never installed: a path in which it is not found."""
    code = (
        "import sys, importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'torch' else find(name, *rest)\n"
        "from unoise_engine.cli import main; main()"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, "import", str(write_folder(tmp_path / "in")), "-o", str(tmp_path / "out")],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert out.returncode == 3 and '"torch>=' in out.stderr and out.stderr.count("\n") == 1


def test_help_shows_examples_at_once() -> None:
    shown = run("import", "--help", COLUMNS="200")
    assert "unoise_engine import total_fast -o" in shown.stdout and "--orientation" in shown.stdout

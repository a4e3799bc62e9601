"""The documentation as it stands: links lead somewhere, the command line knows every command, and blocks marked
`<!-- runs -->` run, in order, in a folder with a small CT."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk
import typer

from Testing.engine.conftest import ellipsoid_ct, image_of
from Testing.engine.dicom.series import write_series
from unoise_engine.cli.app import app
from unoise_engine.cli.examples import EXAMPLES
from unoise_engine.cli.options import METHOD_NAMES
from unoise_engine.explanation.methods import METHODS
from unoise_engine.lab.phantom.write import write_phantoms

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "Resources/Recipes/README.md"])
RUNS = "<!-- runs -->"
BLOCK = re.compile(rf"({RUNS}\n)?```(sh|python)\n(.*?)```", re.DOTALL)
PATIENCE_S = 300


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[tuple[bool, str, str]]:
    """(whether it runs, language, text)"""
    return [(bool(runs), language, text) for runs, language, text in BLOCK.findall(page.read_text("utf-8"))]


def commands(text: str) -> list[list[str]]:
    """The arguments of each call of ours in a shell's lines, up to whatever the shell does with it."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("unoise_engine "):
            words = shlex.split(line.partition(";")[0], comments=True)
            end = next((k for k, word in enumerate(words) if word in (">", "|", "&")), len(words))
            if "..." not in words:  # the rest is said in words
                found.append(words[1:end])
    return found


def understood(arguments: list[str]) -> None:
    """Has the command line read the call, without doing it. Raises its complaint."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("unoise_engine", [*arguments])
    while hasattr(command, "commands"):
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        _, command, rest = command.resolve_command(context, rest)
        context = command.make_context(command.name, rest, parent=context)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for link in re.findall(r"(?:\]\(|src=\")([^)#\s\"]+)", text):
        assert re.match("https?:", link) or (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_command_line_knows_every_command(page: Path) -> None:
    for _, _, text in blocks(page):
        for arguments in commands(text):
            understood(arguments)


@pytest.mark.parametrize("command", EXAMPLES)
def test_the_command_line_knows_its_own_examples(command: str) -> None:
    for line in EXAMPLES[command]:
        assert line.startswith(command)
        understood(shlex.split(line))


def test_a_wrong_command_would_be_noticed() -> None:
    (arguments,) = commands("unoise_engine explain ct.nii.gz \\\n  -o out --sliced 3:4   # a comment\nls")
    with pytest.raises(Exception, match="--sliced"):
        understood(arguments)


def test_every_command_has_examples_and_the_methods_are_all_named() -> None:
    assert ", ".join(METHODS) == METHOD_NAMES
    group: Any = typer.main.get_command(app)
    names = {f"{n} {m}".strip() for n, c in group.commands.items() for m in getattr(c, "commands", [""])}
    assert names - {*EXAMPLES} == {"import"}  # its examples stand in its own text


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with the files that pages speak of, and `unoise_engine` on the path."""
    (tmp_path / "COHORT").mkdir()
    for name in ("one", "two"):
        sitk.WriteImage(image_of(ellipsoid_ct()), str(tmp_path / "COHORT" / f"{name}.nii.gz"))
    (ct,) = write_phantoms(tmp_path / "phantom", 1, 0, size=96, slices=24)
    ct.rename(tmp_path / "ct.nii.gz")
    ct.with_name(ct.name.replace("-ct.", "-labels.")).rename(tmp_path / "structures.nii.gz")
    (tmp_path / "phantom" / "labels.json").rename(tmp_path / "names.json")
    write_series(tmp_path / "DICOM_FOLDER")
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "unoise_engine"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m unoise_engine "$@"\n')
    command.chmod(0o755)
    return tmp_path


@pytest.mark.skipif(os.name == "nt", reason="the lines are for a POSIX shell")
@pytest.mark.pictures
@pytest.mark.parametrize("page", [p for p in PAGES if any(runs for runs, _, _ in blocks(p))], ids=name)
def test_what_is_marked_runs(page: Path, here: Path) -> None:
    environment = {**os.environ, "PATH": f"{here / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    for runs, language, text in blocks(page):
        if runs:
            call = ["sh", "-ec", text] if language == "sh" else [sys.executable, "-c", text]
            done = subprocess.run(call, cwd=here, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"

"""The notebooks run from top to bottom, and what is committed of them is what a run gives, and small."""

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs").rglob("*.ipynb"))
LARGEST_BYTES = 300_000
PATIENCE_S = 900


def run(notebook: Any, home: Path) -> Any:
    """Runs it in place, in a kernel of this Python, with `unoise_engine` on the path."""
    (home / "bin").mkdir(parents=True)
    command = home / "bin" / "unoise_engine"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m unoise_engine "$@"\n')
    command.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "TMPDIR": str(home),
        "IPYTHONDIR": str(home), "JUPYTER_RUNTIME_DIR": str(home), "MPLCONFIGDIR": str(home),
    }  # fmt: skip
    how = {"timeout": PATIENCE_S, "kernel_name": "python3", "coalesce_streams": True}
    client = nbclient.NotebookClient(notebook, resources={}, **how)
    client.execute(cwd=str(home), env=environment)
    return notebook


def texts(cell: Any) -> list[str]:
    """What a cell showed as text."""
    found = [one.get("text") or one.get("data", {}).get("text/plain", "") for one in cell.get("outputs", [])]
    return ["".join(one) for one in found]


@pytest.mark.skipif(os.name == "nt", reason="the commands are for a POSIX shell")
@pytest.mark.slow
@pytest.mark.pictures
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_shows_what_it_showed(path: Path, tmp_path: Path) -> None:
    if path.stem.startswith("train"):
        pytest.importorskip("lightning")
    kept = nbformat.read(path, 4)
    found = run(nbformat.read(path, 4), tmp_path / "home")
    for before, after in zip(kept.cells, found.cells):
        assert len(texts(before)) > 0 or not texts(after), f"was committed without its output: {before.source[:60]}"
        kinds = [{kind for one in cell.get("outputs", []) for kind in one.get("data", {})} for cell in (before, after)]
        assert kinds[0] == kinds[1], before.source[:60]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_committed_is_small_whole_and_nobodys(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text) < LARGEST_BYTES
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)], "run it once, from top to bottom"
    assert not any(one.output_type == "error" for cell in cells for one in cell.outputs)
    assert str(ROOT) not in text and "/home/" not in text and "\\u001b[" not in text


if __name__ == "__main__":  # writes their outputs anew
    import tempfile

    for path in NOTEBOOKS:
        notebook = nbformat.read(path, 4)
        with tempfile.TemporaryDirectory() as home:
            run(notebook, Path(home))
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)  # times of day
        nbformat.write(notebook, path)

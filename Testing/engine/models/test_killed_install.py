"""`bundle install` and `uninstall` killed at every step: the next command takes away what is left, and nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from Testing.engine.test_layers import ROOT
from unoise_engine.files import new_folder
from unoise_engine.lock import held
from unoise_engine.models.bundles import LOCK, installed_bundles
from unoise_engine.models.install import install
from unoise_engine.models.manifest import verify

pytestmark = pytest.mark.skipif(os.name == "nt", reason="fork and SIGKILL")

# Does it in one process after the other: the k-th ends itself, by SIGKILL, just before the k-th change below the
# collection. Whether the model answers well is not the question here, so it is not asked again each time.
KILLED = """
import json, os, signal, sys
from pathlib import Path
from unoise_engine.models import install
from unoise_engine.models.bundles import installed_bundles
from unoise_engine.models.uninstall import uninstall
source, home, what = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
install.try_out = lambda folder: None
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}

def in_a_process(work):
    if not (child := os.fork()):
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def killed_at(k):
    count = 0

    def hook(event, args):
        nonlocal count
        writes = event == "open" and isinstance(args[1], (str, type(None))) and args[2] & (os.O_WRONLY | os.O_RDWR)
        place = os.fsdecode(args[0]) if args and isinstance(args[0], (str, bytes, os.PathLike)) else ""
        in_folder = event in ("os.remove", "os.rmdir") and args[1] >= 0  # named within an open folder
        if (event in CHANGES or writes) and (place.startswith(str(home)) or in_folder):
            count += 1
            if count == k:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    uninstall("tiny") if what == "uninstall" else install.install(source, overwrite=what == "overwrite")

def left():
    return sorted(os.listdir(home))

k, told = 0, []
while True:
    k += 1
    if what != "install" and "tiny" not in left():
        in_a_process(lambda: install.install(source))
    code = in_a_process(lambda: killed_at(k))
    before = left()
    in_a_process(installed_bundles)  # the next command
    told.append((code, before, left()))
    if not code:
        break
    if what == "install" and "tiny" in left():
        import shutil
        shutil.rmtree(home / "tiny")
print(json.dumps(told))
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's collection, in which things of his own lie under names much like ours."""
    home = tmp_path / "models"
    monkeypatch.setenv("UNOISE_MODELS", str(home))
    for name in (".mine-1-partial", ".install-notes", ".install-7-partial", ".tiny-12-partial-old"):
        (home / name).mkdir(parents=True)
        (home / name / "notes.txt").write_text("mine")
    (home / ".tiny-3-partial").write_text("a file of mine")
    (home / ".tiny-4-partial").symlink_to(tmp_path)
    return home


def mine(home: Path) -> dict[str, bytes]:
    return {str(p.relative_to(home)): p.read_bytes() for p in home.glob(".*/notes.txt")} | {
        "file": (home / ".tiny-3-partial").read_bytes(), "link": os.fsencode(os.readlink(home / ".tiny-4-partial"))
    }  # fmt: skip


@pytest.mark.parametrize("what", ["install", "overwrite", "uninstall"])
def test_killed_at_every_step(tiny_bundle: Any, home: Any, what: Any) -> None:
    before, names = mine(home), set(os.listdir(home))
    words = [sys.executable, "-c", KILLED, str(tiny_bundle), str(home), what]
    run = subprocess.run(
        words, capture_output=True, text=True, timeout=300, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    steps = json.loads(run.stdout.splitlines()[-1])
    codes = [code for code, *_ in steps]
    assert len(steps) > (5 if what == "uninstall" else 15) and set(codes[:-1]) == {-9} and codes[-1] == 0
    assert any(set(left) - names - {"tiny", ".locks"} for _, left, _ in steps), "halves were left"
    for k, (_, _, left) in enumerate(steps, 1):
        assert set(left) - names in ([{"tiny"}] if what == "overwrite" else [set(), {"tiny"}]), f"step {k}: {left}"
    assert mine(home) == before
    if what == "uninstall":
        install(tiny_bundle)
    assert verify(home / "tiny").name == "tiny"


def test_an_installation_at_work_is_left_alone(tiny_bundle: Any, home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from unoise_engine.errors import Environment
    from unoise_engine.models import install as module

    monkeypatch.setattr(module, "WAIT_SECONDS", 0.1)
    with held(home, LOCK), new_folder(home / "tiny") as half:
        assert installed_bundles() == {} and half.is_dir()
        with pytest.raises(Environment, match="another installation is at work there - wait"):
            install(tiny_bundle)
        assert half.is_dir()
